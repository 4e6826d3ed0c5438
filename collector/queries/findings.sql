-- What somebody should look at, the worst and newest first. A finding that was written twice is shown once.
SELECT usage.severity AS severity,
       any(usage.title) AS title,
       any(usage.client) AS client,
       any(usage.service) AS service,
       any(usage.rule) AS rule,
       min(usage.time) AS first_seen,
       any(usage.evidence_query) AS evidence_query
FROM (
    SELECT findings.*, '' AS category, hosts.client_host AS client_host, ${client} AS client
    FROM findings
    GLOBAL LEFT ANY JOIN (
        SELECT client_ip, argMax(connections.client_host, time) AS client_host
        FROM connections
        WHERE connections.client_host != '' AND client_ip GLOBAL IN (SELECT client_ip FROM findings)
        GROUP BY client_ip
    ) AS hosts USING (client_ip)
) AS usage
WHERE ${filter}
GROUP BY usage.id, usage.severity
ORDER BY indexOf(['critical', 'high', 'medium', 'low', 'info'], severity), first_seen DESC
LIMIT 1000
