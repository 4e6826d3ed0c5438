-- All traffic by what could be seen of it.
SELECT entry.1 AS class, sum(entry.2) AS bytes
FROM sensor_stats
ARRAY JOIN [
    ('named', bytes_named),
    ('quic_named', bytes_quic_named),
    ('ech_grease', bytes_ech_grease),
    ('ech_offered', bytes_ech_offered),
    ('dns', bytes_dns),
    ('doh', bytes_doh),
    ('dot', bytes_dot),
    ('doq', bytes_doq),
    ('unnamed', bytes_unnamed),
    ('tunnelled', bytes_tunnelled),
    ('other', bytes_other),
    ('undecodable', bytes_undecodable),
    ('dropped_limit', bytes_dropped_limit)
] AS entry
WHERE time >= {start:DateTime64(6, 'UTC')} AND time < {end:DateTime64(6, 'UTC')}
GROUP BY class
ORDER BY bytes DESC
