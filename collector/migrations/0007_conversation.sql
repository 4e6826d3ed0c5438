-- What the proxy reads of a conversation: its turns by role and size, the system prompt's keyed hash, tools called.

ALTER TABLE aiscope.exchanges${local} ${on_cluster}
ADD COLUMN IF NOT EXISTS messages Array(String) CODEC(ZSTD(1)) AFTER excerpt,
ADD COLUMN IF NOT EXISTS system_hash String CODEC(ZSTD(1)) AFTER messages,
ADD COLUMN IF NOT EXISTS tools_called Array(LowCardinality(String)) AFTER system_hash;

-- only: cluster
ALTER TABLE aiscope.exchanges ${on_cluster}
ADD COLUMN IF NOT EXISTS messages Array(String),
ADD COLUMN IF NOT EXISTS system_hash String,
ADD COLUMN IF NOT EXISTS tools_called Array(LowCardinality(String));
