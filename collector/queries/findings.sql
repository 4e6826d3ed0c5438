-- What somebody should look at, the worst and newest first. A finding that was written twice is shown once.
SELECT usage.severity AS severity,
       any(usage.title) AS title,
       any(usage.client) AS client,
       any(usage.service) AS service,
       any(usage.rule) AS rule,
       min(usage.time) AS first_seen,
       any(usage.evidence_query) AS evidence_query
FROM ${findings}
WHERE ${filter}
GROUP BY usage.id, usage.severity
ORDER BY indexOf(['critical', 'high', 'medium', 'low', 'info'], severity), first_seen DESC
LIMIT 1000
