-- The names a service was reached under, or a client's server names.
SELECT if(server_name = '', concat(replaceOne(toString(server_ip), '::ffff:', ''), ' port ', toString(server_port)), server_name)
           AS server,
       service,
       name_source,
       argMax(usage.evidence, indexOf(['ip', 'sni', 'flow', 'inferred', 'decrypted'], usage.evidence)) AS evidence,
       sum(first) AS connections,
       uniqExact(client) AS clients,
       sum(usage.bytes_up) AS bytes_up,
       sum(usage.bytes_down) AS bytes_down,
       max(end_time) AS last_seen
FROM usage
WHERE ${filter}
GROUP BY server, service, name_source
ORDER BY bytes_up DESC
LIMIT 1000
