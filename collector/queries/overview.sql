-- Who uses which service with how much data. One row per client, service; risk is the service's score, if known.
SELECT client,
       service,
       any(usage.vendor) AS vendor,
       any(usage.category) AS category,
       any(risks.score) AS risk,
       argMax(usage.evidence, indexOf(['ip', 'sni', 'flow', 'inferred', 'decrypted'], usage.evidence)) AS evidence,
       sum(first) AS connections,
       sum(usage.bytes_up) AS bytes_up,
       sum(usage.bytes_down) AS bytes_down,
       min(start_time) AS first_seen,
       max(end_time) AS last_seen
FROM usage
GLOBAL LEFT ANY JOIN (SELECT id, argMax(tuple(score), loaded).1 AS score FROM services GROUP BY id) AS risks
    ON risks.id = usage.service
WHERE ${filter}
GROUP BY client, service
ORDER BY bytes_up DESC, client, service
LIMIT 10000
