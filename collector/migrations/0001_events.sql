-- The event tables: columns are those of sensor/delivery/event.py, and sensor, batch, ingested.
-- Sort keys start with what dashboards filter on. Every table drops a batch it already has (${window}).
-- Retention is a TTL on `ingested`, set by collector/migrate.py from the settings.

CREATE DATABASE IF NOT EXISTS aiscope ${on_cluster};

CREATE TABLE IF NOT EXISTS aiscope.connections${local} ${on_cluster}
(
    sensor          LowCardinality(String),
    batch           UInt64 CODEC(Delta, ZSTD(1)),
    ingested        DateTime('UTC') DEFAULT now('UTC') CODEC(Delta, ZSTD(1)),
    time            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    end_time        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    start_time      DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    flow_id         String CODEC(ZSTD(1)),
    first           Bool CODEC(ZSTD(1)),
    transport       LowCardinality(String),
    protocol        LowCardinality(String),
    client_ip       IPv6 CODEC(ZSTD(1)),
    client_port     UInt16 CODEC(ZSTD(1)),
    client_mac      LowCardinality(String),
    client_host     LowCardinality(String),
    user            LowCardinality(String),
    groups          Array(LowCardinality(String)),
    server_ip       IPv6 CODEC(ZSTD(1)),
    server_port     UInt16 CODEC(ZSTD(1)),
    server_name     String CODEC(ZSTD(1)),
    name_source     LowCardinality(String),
    alpn            LowCardinality(String),
    tls_version     LowCardinality(String),
    ja3             String CODEC(ZSTD(1)),
    ja4             LowCardinality(String),
    ech             LowCardinality(String),
    service         LowCardinality(String),
    vendor          LowCardinality(String),
    category        LowCardinality(String),
    role            LowCardinality(String),
    evidence        LowCardinality(String),
    confidence      Float32 CODEC(ZSTD(1)),
    channel         LowCardinality(String),
    client_class    LowCardinality(String),
    bytes_up        UInt64 CODEC(ZSTD(1)),
    bytes_down      UInt64 CODEC(ZSTD(1)),
    packets_up      UInt64 CODEC(ZSTD(1)),
    packets_down    UInt64 CODEC(ZSTD(1)),
    exchanges_low   Nullable(UInt64) CODEC(ZSTD(1)),
    exchanges       Nullable(UInt64) CODEC(ZSTD(1)),
    exchanges_high  Nullable(UInt64) CODEC(ZSTD(1)),
    upload_bytes    Nullable(UInt64) CODEC(ZSTD(1)),
    server_country  LowCardinality(String),
    server_asn      UInt32 CODEC(ZSTD(1)),
    server_as_org   LowCardinality(String),
    vlan            Nullable(UInt16) CODEC(ZSTD(1)),
    tunnel          LowCardinality(String),
    verdict         LowCardinality(String),
    policy          LowCardinality(String),
    INDEX client    client_ip TYPE bloom_filter GRANULARITY 4,
    INDEX person    user TYPE bloom_filter GRANULARITY 4,
    INDEX flow      flow_id TYPE bloom_filter GRANULARITY 4,
    INDEX name      server_name TYPE bloom_filter GRANULARITY 4
)
ENGINE = ${MergeTree}
PARTITION BY toYYYYMM(time)
ORDER BY (service, toStartOfHour(time), client_ip, time, flow_id)
SETTINGS ${window};

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.connections ${on_cluster} AS aiscope.connections_local
ENGINE = Distributed(${cluster}, aiscope, connections_local, cityHash64(flow_id));

CREATE TABLE IF NOT EXISTS aiscope.lookups${local} ${on_cluster}
(
    sensor          LowCardinality(String),
    batch           UInt64 CODEC(Delta, ZSTD(1)),
    ingested        DateTime('UTC') DEFAULT now('UTC') CODEC(Delta, ZSTD(1)),
    time            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    client_ip       IPv6 CODEC(ZSTD(1)),
    client_host     LowCardinality(String),
    user            LowCardinality(String),
    resolver_ip     IPv6 CODEC(ZSTD(1)),
    transport       LowCardinality(String),
    question        String CODEC(ZSTD(1)),
    qtype           LowCardinality(String),
    rcode           LowCardinality(String),
    answers         Array(String) CODEC(ZSTD(1)),
    ttl             Nullable(UInt32) CODEC(ZSTD(1)),
    ech_offered     Bool CODEC(ZSTD(1)),
    service         LowCardinality(String),
    vendor          LowCardinality(String),
    category        LowCardinality(String),
    INDEX client    client_ip TYPE bloom_filter GRANULARITY 4,
    INDEX name      question TYPE bloom_filter GRANULARITY 4
)
ENGINE = ${MergeTree}
PARTITION BY toYYYYMM(time)
ORDER BY (service, toStartOfHour(time), client_ip, time, question)
SETTINGS ${window};

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.lookups ${on_cluster} AS aiscope.lookups_local
ENGINE = Distributed(${cluster}, aiscope, lookups_local, cityHash64(client_ip));

CREATE TABLE IF NOT EXISTS aiscope.exchanges${local} ${on_cluster}
(
    sensor          LowCardinality(String),
    batch           UInt64 CODEC(Delta, ZSTD(1)),
    ingested        DateTime('UTC') DEFAULT now('UTC') CODEC(Delta, ZSTD(1)),
    id              String CODEC(ZSTD(1)),
    time            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    client_flow_id  String CODEC(ZSTD(1)),
    server_flow_id  String CODEC(ZSTD(1)),
    client_ip       IPv6 CODEC(ZSTD(1)),
    client_host     LowCardinality(String),
    user            LowCardinality(String),
    groups          Array(LowCardinality(String)),
    service         LowCardinality(String),
    vendor          LowCardinality(String),
    category        LowCardinality(String),
    server_name     LowCardinality(String),
    channel         LowCardinality(String),
    operation       LowCardinality(String),
    model           LowCardinality(String),
    stream          Nullable(Bool) CODEC(ZSTD(1)),
    evidence        LowCardinality(String),
    confidence      Float32 CODEC(ZSTD(1)),
    bytes_up        UInt64 CODEC(ZSTD(1)),
    bytes_down      UInt64 CODEC(ZSTD(1)),
    tokens_in       Nullable(UInt64) CODEC(ZSTD(1)),
    tokens_out      Nullable(UInt64) CODEC(ZSTD(1)),
    cost_usd        Nullable(Float64) CODEC(ZSTD(1)),
    ttfb_ms         Nullable(Float64) CODEC(ZSTD(1)),
    duration_ms     Nullable(Float64) CODEC(ZSTD(1)),
    status          Nullable(UInt16) CODEC(ZSTD(1)),
    attachments     Array(String) CODEC(ZSTD(1)),
    tools           Array(LowCardinality(String)),
    data_classes    Array(LowCardinality(String)),
    verdict         LowCardinality(String),
    policy          LowCardinality(String),
    account         LowCardinality(String),
    account_type    LowCardinality(String),
    retry           Bool CODEC(ZSTD(1)),
    prompt_hash     String CODEC(ZSTD(1)),
    excerpt         String CODEC(ZSTD(3)),
    INDEX client    client_ip TYPE bloom_filter GRANULARITY 4,
    INDEX person    user TYPE bloom_filter GRANULARITY 4,
    INDEX exchange  id TYPE bloom_filter GRANULARITY 4
)
ENGINE = ${MergeTree}
PARTITION BY toYYYYMM(time)
ORDER BY (service, toStartOfHour(time), client_ip, time)
SETTINGS ${window};

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.exchanges ${on_cluster} AS aiscope.exchanges_local
ENGINE = Distributed(${cluster}, aiscope, exchanges_local, cityHash64(id));

CREATE TABLE IF NOT EXISTS aiscope.identities${local} ${on_cluster}
(
    sensor          LowCardinality(String),
    batch           UInt64 CODEC(Delta, ZSTD(1)),
    ingested        DateTime('UTC') DEFAULT now('UTC') CODEC(Delta, ZSTD(1)),
    time            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    valid_until     Nullable(DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    source          LowCardinality(String),
    confidence      Float32 CODEC(ZSTD(1)),
    client_ip       IPv6 CODEC(ZSTD(1)),
    client_mac      LowCardinality(String),
    client_host     LowCardinality(String),
    user            LowCardinality(String),
    groups          Array(LowCardinality(String))
)
ENGINE = ${MergeTree}
PARTITION BY toYYYYMM(time)
ORDER BY (client_ip, time)
SETTINGS ${window};

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.identities ${on_cluster} AS aiscope.identities_local
ENGINE = Distributed(${cluster}, aiscope, identities_local, cityHash64(client_ip));

CREATE TABLE IF NOT EXISTS aiscope.findings${local} ${on_cluster}
(
    sensor          LowCardinality(String),
    batch           UInt64 CODEC(Delta, ZSTD(1)),
    ingested        DateTime('UTC') DEFAULT now('UTC') CODEC(Delta, ZSTD(1)),
    id              String CODEC(ZSTD(1)),
    time            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    rule            LowCardinality(String),
    severity        LowCardinality(String),
    title           String CODEC(ZSTD(1)),
    client_ip       IPv6 CODEC(ZSTD(1)),
    user            LowCardinality(String),
    service         LowCardinality(String),
    evidence_query  String CODEC(ZSTD(1)),
    tags            Array(LowCardinality(String))
)
ENGINE = ${MergeTree}
PARTITION BY toYYYYMM(time)
ORDER BY (severity, rule, time, id)
SETTINGS ${window};

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.findings ${on_cluster} AS aiscope.findings_local
ENGINE = Distributed(${cluster}, aiscope, findings_local, cityHash64(id));

CREATE TABLE IF NOT EXISTS aiscope.sensor_stats${local} ${on_cluster}
(
    sensor              LowCardinality(String),
    batch               UInt64 CODEC(Delta, ZSTD(1)),
    ingested            DateTime('UTC') DEFAULT now('UTC') CODEC(Delta, ZSTD(1)),
    time                DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    end_time            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    engine              LowCardinality(String),
    version             LowCardinality(String),
    catalogue           LowCardinality(String),
    packets             UInt64 CODEC(ZSTD(1)),
    bytes               UInt64 CODEC(ZSTD(1)),
    dropped_kernel      UInt64 CODEC(ZSTD(1)),
    dropped_limit       UInt64 CODEC(ZSTD(1)),
    duplicates          UInt64 CODEC(ZSTD(1)),
    undecodable         UInt64 CODEC(ZSTD(1)),
    flows               UInt64 CODEC(ZSTD(1)),
    spool_rows          UInt64 CODEC(ZSTD(1)),
    spool_lost          UInt64 CODEC(ZSTD(1)),
    bytes_named         UInt64 CODEC(ZSTD(1)),
    bytes_quic_named    UInt64 CODEC(ZSTD(1)),
    bytes_ech_grease    UInt64 CODEC(ZSTD(1)),
    bytes_ech_offered   UInt64 CODEC(ZSTD(1)),
    bytes_dns           UInt64 CODEC(ZSTD(1)),
    bytes_doh           UInt64 CODEC(ZSTD(1)),
    bytes_dot           UInt64 CODEC(ZSTD(1)),
    bytes_doq           UInt64 CODEC(ZSTD(1)),
    bytes_unnamed       UInt64 CODEC(ZSTD(1)),
    bytes_tunnelled     UInt64 CODEC(ZSTD(1)),
    bytes_other         UInt64 CODEC(ZSTD(1)),
    bytes_undecodable   UInt64 CODEC(ZSTD(1)),
    bytes_dropped_limit UInt64 CODEC(ZSTD(1))
)
ENGINE = ${MergeTree}
PARTITION BY toYYYYMM(time)
ORDER BY (sensor, time)
SETTINGS ${window};

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.sensor_stats ${on_cluster} AS aiscope.sensor_stats_local
ENGINE = Distributed(${cluster}, aiscope, sensor_stats_local, cityHash64(sensor));
