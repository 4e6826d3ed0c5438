-- How many findings of each severity, also of those that a table has no room for.
SELECT usage.severity AS severity, uniqExact(usage.id) AS rows
FROM ${findings}
WHERE ${filter}
GROUP BY severity
