-- Hourly and daily rollups. `sensor` stays in every key: sums count the sensor that has priority, and the rows of
-- one sensor or file can be taken out again. Connections are counted by `first`. `ingested` carries retention.
-- The targets have a deduplication window of their own, or a retried batch would be counted twice here.

CREATE TABLE IF NOT EXISTS aiscope.usage_hourly${local} ${on_cluster}
(
    hour            DateTime('UTC') CODEC(Delta, ZSTD(1)),
    sensor          LowCardinality(String),
    service         LowCardinality(String),
    vendor          LowCardinality(String),
    category        LowCardinality(String),
    client_ip       IPv6 CODEC(ZSTD(1)),
    client_host     LowCardinality(String),
    user            LowCardinality(String),
    groups          Array(LowCardinality(String)),
    role            LowCardinality(String),
    evidence        LowCardinality(String),
    channel         LowCardinality(String),
    verdict         LowCardinality(String),
    server_country  LowCardinality(String),
    connections     SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    bytes_up        SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    bytes_down      SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    packets_up      SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    packets_down    SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    exchanges_low   SimpleAggregateFunction(sum, Nullable(UInt64)) CODEC(ZSTD(1)),
    exchanges       SimpleAggregateFunction(sum, Nullable(UInt64)) CODEC(ZSTD(1)),
    exchanges_high  SimpleAggregateFunction(sum, Nullable(UInt64)) CODEC(ZSTD(1)),
    upload_bytes    SimpleAggregateFunction(sum, Nullable(UInt64)) CODEC(ZSTD(1)),
    confidence      SimpleAggregateFunction(max, Float32) CODEC(ZSTD(1)),
    first_seen      SimpleAggregateFunction(min, DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    last_seen       SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    ingested        SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1))
)
ENGINE = ${AggregatingMergeTree}
PARTITION BY toYYYYMM(hour)
ORDER BY (service, hour, client_ip, client_host, user, groups, vendor, category, sensor, role, evidence, channel,
          verdict, server_country)
SETTINGS ${window};

CREATE MATERIALIZED VIEW IF NOT EXISTS aiscope.usage_hourly_view ${on_cluster} TO aiscope.usage_hourly${local} AS
SELECT
    toStartOfHour(toDateTime(c.time, 'UTC')) AS hour,
    c.sensor AS sensor, c.service AS service, c.vendor AS vendor, c.category AS category, c.client_ip AS client_ip,
    c.client_host AS client_host, c.user AS user, c.groups AS groups, c.role AS role, c.evidence AS evidence,
    c.channel AS channel, c.verdict AS verdict, c.server_country AS server_country,
    countIf(c.first) AS connections,
    sum(c.bytes_up) AS bytes_up,
    sum(c.bytes_down) AS bytes_down,
    sum(c.packets_up) AS packets_up,
    sum(c.packets_down) AS packets_down,
    sum(c.exchanges_low) AS exchanges_low,
    sum(c.exchanges) AS exchanges,
    sum(c.exchanges_high) AS exchanges_high,
    sum(c.upload_bytes) AS upload_bytes,
    max(c.confidence) AS confidence,
    min(c.time) AS first_seen,
    max(c.end_time) AS last_seen,
    max(c.ingested) AS ingested
FROM aiscope.connections${local} AS c
WHERE c.service != ''
GROUP BY hour, sensor, service, vendor, category, client_ip, client_host, user, groups, role, evidence, channel,
         verdict, server_country;

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.usage_hourly ${on_cluster} AS aiscope.usage_hourly_local
ENGINE = Distributed(${cluster}, aiscope, usage_hourly_local, cityHash64(client_ip));

CREATE TABLE IF NOT EXISTS aiscope.usage_daily${local} ${on_cluster}
(
    day             Date CODEC(Delta, ZSTD(1)),
    sensor          LowCardinality(String),
    service         LowCardinality(String),
    vendor          LowCardinality(String),
    category        LowCardinality(String),
    role            LowCardinality(String),
    evidence        LowCardinality(String),
    verdict         LowCardinality(String),
    connections     SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    bytes_up        SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    bytes_down      SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    exchanges       SimpleAggregateFunction(sum, Nullable(UInt64)) CODEC(ZSTD(1)),
    upload_bytes    SimpleAggregateFunction(sum, Nullable(UInt64)) CODEC(ZSTD(1)),
    clients         AggregateFunction(uniq, IPv6) CODEC(ZSTD(1)),
    users           AggregateFunction(uniqIf, String, UInt8) CODEC(ZSTD(1)),
    slice_up        AggregateFunction(quantilesTDigest(0.5, 0.9, 0.99), UInt64) CODEC(ZSTD(1)),
    ingested        SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1))
)
ENGINE = ${AggregatingMergeTree}
PARTITION BY toYYYYMM(day)
ORDER BY (service, day, vendor, category, sensor, role, evidence, verdict)
SETTINGS ${window};

CREATE MATERIALIZED VIEW IF NOT EXISTS aiscope.usage_daily_view ${on_cluster} TO aiscope.usage_daily${local} AS
SELECT
    toDate(c.time, 'UTC') AS day,
    c.sensor AS sensor, c.service AS service, c.vendor AS vendor, c.category AS category, c.role AS role,
    c.evidence AS evidence, c.verdict AS verdict,
    countIf(c.first) AS connections,
    sum(c.bytes_up) AS bytes_up,
    sum(c.bytes_down) AS bytes_down,
    sum(c.exchanges) AS exchanges,
    sum(c.upload_bytes) AS upload_bytes,
    uniqState(c.client_ip) AS clients,
    uniqIfState(toString(c.user), c.user != '') AS users,
    quantilesTDigestState(0.5, 0.9, 0.99)(c.bytes_up) AS slice_up,
    max(c.ingested) AS ingested
FROM aiscope.connections${local} AS c
WHERE c.service != ''
GROUP BY day, sensor, service, vendor, category, role, evidence, verdict;

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.usage_daily ${on_cluster} AS aiscope.usage_daily_local
ENGINE = Distributed(${cluster}, aiscope, usage_daily_local, cityHash64(service));

CREATE TABLE IF NOT EXISTS aiscope.lookups_hourly${local} ${on_cluster}
(
    hour            DateTime('UTC') CODEC(Delta, ZSTD(1)),
    sensor          LowCardinality(String),
    service         LowCardinality(String),
    vendor          LowCardinality(String),
    category        LowCardinality(String),
    client_ip       IPv6 CODEC(ZSTD(1)),
    client_host     LowCardinality(String),
    user            LowCardinality(String),
    lookups         SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    names           AggregateFunction(uniq, String) CODEC(ZSTD(1)),
    first_seen      SimpleAggregateFunction(min, DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    last_seen       SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(ZSTD(1)),
    ingested        SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1))
)
ENGINE = ${AggregatingMergeTree}
PARTITION BY toYYYYMM(hour)
ORDER BY (service, hour, client_ip, client_host, user, vendor, category, sensor)
SETTINGS ${window};

CREATE MATERIALIZED VIEW IF NOT EXISTS aiscope.lookups_hourly_view ${on_cluster} TO aiscope.lookups_hourly${local} AS
SELECT
    toStartOfHour(toDateTime(l.time, 'UTC')) AS hour,
    l.sensor AS sensor, l.service AS service, l.vendor AS vendor, l.category AS category, l.client_ip AS client_ip,
    l.client_host AS client_host, l.user AS user,
    count() AS lookups,
    uniqState(l.question) AS names,
    min(l.time) AS first_seen,
    max(l.time) AS last_seen,
    max(l.ingested) AS ingested
FROM aiscope.lookups${local} AS l
WHERE l.service != ''
GROUP BY hour, sensor, service, vendor, category, client_ip, client_host, user;

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.lookups_hourly ${on_cluster} AS aiscope.lookups_hourly_local
ENGINE = Distributed(${cluster}, aiscope, lookups_hourly_local, cityHash64(client_ip));

CREATE TABLE IF NOT EXISTS aiscope.exchanges_hourly${local} ${on_cluster}
(
    hour            DateTime('UTC') CODEC(Delta, ZSTD(1)),
    sensor          LowCardinality(String),
    service         LowCardinality(String),
    vendor          LowCardinality(String),
    category        LowCardinality(String),
    client_ip       IPv6 CODEC(ZSTD(1)),
    client_host     LowCardinality(String),
    user            LowCardinality(String),
    channel         LowCardinality(String),
    operation       LowCardinality(String),
    model           LowCardinality(String),
    evidence        LowCardinality(String),
    account_type    LowCardinality(String),
    verdict         LowCardinality(String),
    exchanges       SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    bytes_up        SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    bytes_down      SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    tokens_in       SimpleAggregateFunction(sum, Nullable(UInt64)) CODEC(ZSTD(1)),
    tokens_out      SimpleAggregateFunction(sum, Nullable(UInt64)) CODEC(ZSTD(1)),
    cost_usd        SimpleAggregateFunction(sum, Nullable(Float64)) CODEC(ZSTD(1)),
    ttfb_ms         AggregateFunction(quantilesTDigest(0.5, 0.9, 0.99), Nullable(Float64)) CODEC(ZSTD(1)),
    duration_ms     AggregateFunction(quantilesTDigest(0.5, 0.9, 0.99), Nullable(Float64)) CODEC(ZSTD(1)),
    ingested        SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1))
)
ENGINE = ${AggregatingMergeTree}
PARTITION BY toYYYYMM(hour)
ORDER BY (service, hour, client_ip, client_host, user, vendor, category, sensor, channel, operation, model, evidence,
          account_type, verdict)
SETTINGS ${window};

CREATE MATERIALIZED VIEW IF NOT EXISTS aiscope.exchanges_hourly_view ${on_cluster}
TO aiscope.exchanges_hourly${local} AS
SELECT
    toStartOfHour(toDateTime(e.time, 'UTC')) AS hour,
    e.sensor AS sensor, e.service AS service, e.vendor AS vendor, e.category AS category, e.client_ip AS client_ip,
    e.client_host AS client_host, e.user AS user, e.channel AS channel, e.operation AS operation, e.model AS model,
    e.evidence AS evidence, e.account_type AS account_type, e.verdict AS verdict,
    countIf(NOT e.retry) AS exchanges,
    sum(e.bytes_up) AS bytes_up,
    sum(e.bytes_down) AS bytes_down,
    sum(e.tokens_in) AS tokens_in,
    sum(e.tokens_out) AS tokens_out,
    sum(e.cost_usd) AS cost_usd,
    quantilesTDigestState(0.5, 0.9, 0.99)(e.ttfb_ms) AS ttfb_ms,
    quantilesTDigestState(0.5, 0.9, 0.99)(e.duration_ms) AS duration_ms,
    max(e.ingested) AS ingested
FROM aiscope.exchanges${local} AS e
WHERE e.service != ''
GROUP BY hour, sensor, service, vendor, category, client_ip, client_host, user, channel, operation, model, evidence,
         account_type, verdict;

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.exchanges_hourly ${on_cluster} AS aiscope.exchanges_hourly_local
ENGINE = Distributed(${cluster}, aiscope, exchanges_hourly_local, cityHash64(client_ip));
