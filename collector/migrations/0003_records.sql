-- What is not an event: the catalogue as loaded, files read, decisions of people, sealed originals, the audit trail.

CREATE TABLE IF NOT EXISTS aiscope.services${local} ${on_cluster}
(
    id              String,
    name            String,
    vendor          LowCardinality(String),
    vendor_name     LowCardinality(String),
    country         LowCardinality(String),
    category        LowCardinality(String),
    description     String,
    score           Nullable(Float32),
    facts           String,
    catalogue       LowCardinality(String),
    loaded          DateTime('UTC') DEFAULT now('UTC')
)
ENGINE = ${ReplacingMergeTree}(loaded)
ORDER BY id
SETTINGS ${window};

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.services ${on_cluster} AS aiscope.services_local
ENGINE = Distributed(${cluster}, aiscope, services_local, cityHash64(id));

-- A file is recorded before its rows (complete = false) and again after the last one.
CREATE TABLE IF NOT EXISTS aiscope.inputs${local} ${on_cluster}
(
    sha256          String,
    path            String,
    sensor          LowCardinality(String),
    rows            UInt64,
    complete        Bool,
    version         UInt64,
    ingested        DateTime('UTC') DEFAULT now('UTC')
)
ENGINE = ${ReplacingMergeTree}(version)
ORDER BY (sensor, sha256)
SETTINGS ${window};

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.inputs ${on_cluster} AS aiscope.inputs_local
ENGINE = Distributed(${cluster}, aiscope, inputs_local, cityHash64(sha256));

CREATE TABLE IF NOT EXISTS aiscope.finding_states${local} ${on_cluster}
(
    time            DateTime64(6, 'UTC'),
    finding         String,
    state           LowCardinality(String),
    actor           LowCardinality(String),
    note            String,
    ingested        DateTime('UTC') DEFAULT now('UTC')
)
ENGINE = ${MergeTree}
ORDER BY (finding, time)
SETTINGS ${window};

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.finding_states ${on_cluster} AS aiscope.finding_states_local
ENGINE = Distributed(${cluster}, aiscope, finding_states_local, cityHash64(finding));

CREATE TABLE IF NOT EXISTS aiscope.reviews${local} ${on_cluster}
(
    time            DateTime64(6, 'UTC'),
    service         LowCardinality(String),
    decision        LowCardinality(String),
    actor           LowCardinality(String),
    note            String,
    valid_until     Nullable(DateTime64(6, 'UTC')),
    ingested        DateTime('UTC') DEFAULT now('UTC')
)
ENGINE = ${MergeTree}
ORDER BY (service, time)
SETTINGS ${window};

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.reviews ${on_cluster} AS aiscope.reviews_local
ENGINE = Distributed(${cluster}, aiscope, reviews_local, cityHash64(service));

CREATE TABLE IF NOT EXISTS aiscope.audit${local} ${on_cluster}
(
    time            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    actor           LowCardinality(String),
    address         IPv6 CODEC(ZSTD(1)),
    action          LowCardinality(String),
    object          String CODEC(ZSTD(1)),
    outcome         LowCardinality(String),
    detail          String CODEC(ZSTD(1)),
    ingested        DateTime('UTC') DEFAULT now('UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ${MergeTree}
PARTITION BY toYYYYMM(time)
ORDER BY (time, actor)
SETTINGS ${window};

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.audit ${on_cluster} AS aiscope.audit_local
ENGINE = Distributed(${cluster}, aiscope, audit_local, cityHash64(actor));

-- Originals of prompts, encrypted at the proxy; empty unless switched on there. `id` is the exchange's.
CREATE TABLE IF NOT EXISTS aiscope.sealed${local} ${on_cluster}
(
    sensor          LowCardinality(String),
    batch           UInt64 CODEC(Delta, ZSTD(1)),
    ingested        DateTime('UTC') DEFAULT now('UTC') CODEC(Delta, ZSTD(1)),
    id              String CODEC(ZSTD(1)),
    key_id          LowCardinality(String),
    ciphertext      String CODEC(NONE)
)
ENGINE = ${MergeTree}
PARTITION BY toYYYYMM(ingested)
ORDER BY id
SETTINGS ${window};

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.sealed ${on_cluster} AS aiscope.sealed_local
ENGINE = Distributed(${cluster}, aiscope, sealed_local, cityHash64(id));
