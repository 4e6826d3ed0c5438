-- What the proxy reads of a conversation: its turns by role and size, the keyed hash of the system prompt, tools called,
-- and of an account what is beside its organisation.

ALTER TABLE aiscope.exchanges${local} ${on_cluster}
ADD COLUMN IF NOT EXISTS messages Array(String) CODEC(ZSTD(1)) AFTER excerpt,
ADD COLUMN IF NOT EXISTS system_hash String CODEC(ZSTD(1)) AFTER messages,
ADD COLUMN IF NOT EXISTS tools_called Array(LowCardinality(String)) AFTER system_hash,
ADD COLUMN IF NOT EXISTS project LowCardinality(String) AFTER tools_called,
ADD COLUMN IF NOT EXISTS key_hash String CODEC(ZSTD(1)) AFTER project;

-- only: cluster
ALTER TABLE aiscope.exchanges ${on_cluster}
ADD COLUMN IF NOT EXISTS messages Array(String),
ADD COLUMN IF NOT EXISTS system_hash String,
ADD COLUMN IF NOT EXISTS tools_called Array(LowCardinality(String)),
ADD COLUMN IF NOT EXISTS project LowCardinality(String),
ADD COLUMN IF NOT EXISTS key_hash String;
