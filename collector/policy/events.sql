-- Every event that a policy judges, with what the catalogue knows of its service. Rules are put on top of it.
SELECT event.*,
       replaceOne(toString(client_ip), '::ffff:', '') AS address,
       multiIf(user != '', user, client_host != '', client_host, address) AS client,
       known.known.1 AS country,
       known.known.2 AS score
FROM (
    SELECT 'connections' AS kind, sensor, flow_id AS id, start_time, time, end_time, client_ip, client_host, user,
           groups, service, vendor, category, server_country, evidence, channel, '' AS operation,
           emptyArrayString() AS data_classes, '' AS account, '' AS account_type, bytes_up, bytes_down,
           connections.verdict AS told, connections.policy AS told_by${volumes}
    FROM connections
    WHERE service != '' AND role IN ('', 'app', 'api', 'upload', 'realtime')
      AND end_time >= {counted:DateTime64(6, 'UTC')}
    UNION ALL
    SELECT 'exchanges' AS kind, sensor, id, time AS start_time, time, time AS end_time, client_ip, client_host, user,
           groups, service, vendor, category, '' AS server_country, evidence, channel, operation,
           data_classes, account, account_type, bytes_up, bytes_down,
           exchanges.verdict AS told, exchanges.policy AS told_by${nothing}
    FROM exchanges
    WHERE service != ''
) AS event
LEFT JOIN (
    SELECT id, argMax((country, score), loaded) AS known FROM services GROUP BY id
) AS known ON known.id = event.service
WHERE time >= {start:DateTime64(6, 'UTC')} AND time < {end:DateTime64(6, 'UTC')}
