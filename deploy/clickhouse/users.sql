-- Roles, grants, row policies, quotas and settings for a ClickHouse server or cluster: what `aiscope collect` does
-- by itself for the embedded store. Run it after `aiscope migrate`, as a user with access management:
--
--   clickhouse-client --queries-file users.sql
--
-- On a cluster users live in Keeper (cluster.xml), and statements reach the shards as whoever asked: hence the
-- `_local` tables, which a single server does not have. Then make users, one for each sensor, dashboard and person:
--
--   CREATE USER sensor_hq IDENTIFIED BY '...' HOST IP '192.0.2.10' DEFAULT ROLE aiscope_sensor;
--   CREATE USER dashboard IDENTIFIED BY '...' DEFAULT ROLE aiscope_analyst;

CREATE ROLE IF NOT EXISTS aiscope_sensor;
CREATE ROLE IF NOT EXISTS aiscope_reader;
CREATE ROLE IF NOT EXISTS aiscope_analyst;
CREATE ROLE IF NOT EXISTS aiscope_investigator;
CREATE ROLE IF NOT EXISTS aiscope_admin;

-- A sensor or proxy may add rows, and read none, its own least of all.
GRANT INSERT ON aiscope.connections, INSERT ON aiscope.connections_local TO aiscope_sensor;
GRANT INSERT ON aiscope.lookups, INSERT ON aiscope.lookups_local TO aiscope_sensor;
GRANT INSERT ON aiscope.exchanges, INSERT ON aiscope.exchanges_local TO aiscope_sensor;
GRANT INSERT ON aiscope.identities, INSERT ON aiscope.identities_local TO aiscope_sensor;
GRANT INSERT ON aiscope.findings, INSERT ON aiscope.findings_local TO aiscope_sensor;
GRANT INSERT ON aiscope.sensor_stats, INSERT ON aiscope.sensor_stats_local TO aiscope_sensor;
GRANT INSERT ON aiscope.sealed, INSERT ON aiscope.sealed_local TO aiscope_sensor;

-- A reader has sums, and may know which schema this is: every command asks.
GRANT SELECT ON aiscope.usage_hourly, SELECT ON aiscope.usage_hourly_local TO aiscope_reader;
GRANT SELECT ON aiscope.usage_daily, SELECT ON aiscope.usage_daily_local TO aiscope_reader;
GRANT SELECT ON aiscope.lookups_hourly, SELECT ON aiscope.lookups_hourly_local TO aiscope_reader;
GRANT SELECT ON aiscope.exchanges_hourly, SELECT ON aiscope.exchanges_hourly_local TO aiscope_reader;
GRANT SELECT ON aiscope.sensor_stats, SELECT ON aiscope.sensor_stats_local TO aiscope_reader;
GRANT SELECT ON aiscope.services, SELECT ON aiscope.services_local TO aiscope_reader;
GRANT SELECT ON aiscope.migrations, SELECT ON aiscope.migrations_local TO aiscope_reader;

-- An analyst has everything but originals of prompts and who had which address.
GRANT aiscope_reader TO aiscope_analyst;
GRANT SELECT ON aiscope.connections, SELECT ON aiscope.connections_local TO aiscope_analyst;
GRANT SELECT ON aiscope.lookups, SELECT ON aiscope.lookups_local TO aiscope_analyst;
GRANT SELECT ON aiscope.exchanges, SELECT ON aiscope.exchanges_local TO aiscope_analyst;
GRANT SELECT ON aiscope.findings, SELECT ON aiscope.findings_local TO aiscope_analyst;
GRANT SELECT ON aiscope.finding_states, SELECT ON aiscope.finding_states_local TO aiscope_analyst;
GRANT SELECT ON aiscope.reviews, SELECT ON aiscope.reviews_local TO aiscope_analyst;
GRANT SELECT ON aiscope.inputs, SELECT ON aiscope.inputs_local TO aiscope_analyst;
GRANT SELECT ON aiscope.audit, SELECT ON aiscope.audit_local TO aiscope_analyst;
GRANT SELECT ON aiscope.vantages, SELECT ON aiscope.vantages_local TO aiscope_analyst;
GRANT SELECT ON aiscope.usage TO aiscope_analyst;

-- An investigator has those too.
GRANT aiscope_analyst TO aiscope_investigator;
GRANT SELECT ON aiscope.identities, SELECT ON aiscope.identities_local TO aiscope_investigator;
GRANT SELECT ON aiscope.sealed, SELECT ON aiscope.sealed_local TO aiscope_investigator;

-- An admin decides, reads captures in, looks after the store, and reads no originals.
GRANT aiscope_analyst TO aiscope_admin;
GRANT INSERT ON aiscope.connections, INSERT ON aiscope.connections_local TO aiscope_admin;
GRANT INSERT ON aiscope.lookups, INSERT ON aiscope.lookups_local TO aiscope_admin;
GRANT INSERT ON aiscope.exchanges, INSERT ON aiscope.exchanges_local TO aiscope_admin;
GRANT INSERT ON aiscope.identities, INSERT ON aiscope.identities_local TO aiscope_admin;
GRANT INSERT ON aiscope.findings, INSERT ON aiscope.findings_local TO aiscope_admin;
GRANT INSERT ON aiscope.sensor_stats, INSERT ON aiscope.sensor_stats_local TO aiscope_admin;
GRANT INSERT ON aiscope.sealed, INSERT ON aiscope.sealed_local TO aiscope_admin;
GRANT INSERT ON aiscope.inputs, INSERT ON aiscope.inputs_local TO aiscope_admin;
GRANT INSERT ON aiscope.finding_states, INSERT ON aiscope.finding_states_local TO aiscope_admin;
GRANT INSERT ON aiscope.reviews, INSERT ON aiscope.reviews_local TO aiscope_admin;
GRANT INSERT ON aiscope.services, INSERT ON aiscope.services_local TO aiscope_admin;
GRANT INSERT ON aiscope.vantages, INSERT ON aiscope.vantages_local TO aiscope_admin;
GRANT INSERT ON aiscope.audit, INSERT ON aiscope.audit_local TO aiscope_admin;
GRANT BACKUP ON aiscope.* TO aiscope_admin;

-- Inserts come back only when the rows are where they belong, and a batch that comes again is dropped everywhere.
CREATE SETTINGS PROFILE IF NOT EXISTS aiscope_sensor SETTINGS
    distributed_foreground_insert = 1 CONST,
    async_insert = 0 CONST,
    deduplicate_blocks_in_dependent_materialized_views = 1 CONST,
    max_memory_usage = 2000000000 MAX 2000000000,
    max_execution_time = 120 MAX 120
TO aiscope_sensor;

-- SQL_aiscope_sensors is the row policies' word: sensors a user may see, comma separated, or * for all of them:
--   ALTER USER someone SETTINGS SQL_aiscope_sensors = 'hq,lab' CONST;
CREATE SETTINGS PROFILE IF NOT EXISTS aiscope_reading SETTINGS
    readonly = 2 MIN 1 MAX 2,
    SQL_aiscope_sensors = '*' CONST,
    max_memory_usage = 4000000000 MAX 4000000000,
    max_execution_time = 60 MAX 300,
    max_rows_to_read = 5000000000 MAX 5000000000,
    max_result_rows = 10000000 MAX 10000000
TO aiscope_reader, aiscope_analyst, aiscope_investigator EXCEPT aiscope_admin;

-- An admin includes an analyst, and would have its profile: `readonly` forbids INSERT and BACKUP, whatever is granted.
CREATE SETTINGS PROFILE IF NOT EXISTS aiscope_admin SETTINGS
    SQL_aiscope_sensors = '*' CONST,
    distributed_foreground_insert = 1 CONST,
    async_insert = 0 CONST,
    deduplicate_blocks_in_dependent_materialized_views = 1 CONST,
    max_memory_usage = 4000000000 MAX 4000000000
TO aiscope_admin;

CREATE ROW POLICY IF NOT EXISTS aiscope_sites
ON aiscope.connections, aiscope.connections_local, aiscope.lookups, aiscope.lookups_local, aiscope.exchanges,
    aiscope.exchanges_local, aiscope.findings, aiscope.findings_local, aiscope.identities, aiscope.identities_local,
    aiscope.sealed, aiscope.sealed_local, aiscope.sensor_stats, aiscope.sensor_stats_local, aiscope.usage_hourly,
    aiscope.usage_hourly_local, aiscope.usage_daily, aiscope.usage_daily_local, aiscope.lookups_hourly,
    aiscope.lookups_hourly_local, aiscope.exchanges_hourly, aiscope.exchanges_hourly_local
USING getSetting('SQL_aiscope_sensors') = '*' OR has(splitByChar(',', getSetting('SQL_aiscope_sensors')), sensor)
TO aiscope_reader, aiscope_analyst, aiscope_investigator;

CREATE QUOTA IF NOT EXISTS aiscope_sensors KEYED BY user_name
FOR INTERVAL 1 minute MAX queries = 600, errors = 300
TO aiscope_sensor;

CREATE QUOTA IF NOT EXISTS aiscope_people KEYED BY user_name
FOR INTERVAL 1 minute MAX queries = 1200, execution_time = 240,
FOR INTERVAL 1 hour MAX failed_sequential_authentications = 100
TO aiscope_reader, aiscope_analyst, aiscope_investigator, aiscope_admin;
