-- How each sensor fared: what it saw, and what it lost.
SELECT sensor,
       argMax(sensor_stats.engine, time) AS engine,
       argMax(sensor_stats.catalogue, time) AS catalogue,
       sum(sensor_stats.packets) AS packets,
       sum(sensor_stats.bytes) AS bytes,
       sum(sensor_stats.dropped_kernel) AS dropped_kernel,
       sum(sensor_stats.dropped_limit) AS dropped_limit,
       sum(sensor_stats.duplicates) AS duplicates,
       sum(sensor_stats.undecodable) AS undecodable,
       sum(sensor_stats.spool_lost) AS spool_lost,
       max(end_time) AS last_seen
FROM sensor_stats
WHERE time >= {start:DateTime64(6, 'UTC')} AND time < {end:DateTime64(6, 'UTC')}
GROUP BY sensor
ORDER BY last_seen DESC
LIMIT 1000
