-- What the filters offer: whatever a page may show, also what was only looked up, or read by the proxy alone.
SELECT DISTINCT entry.1 AS kind, entry.2 AS value
FROM (
    SELECT client, service, category FROM usage
    UNION DISTINCT
    SELECT ${client} AS client, service, category FROM lookups WHERE service != ''
    UNION DISTINCT
    SELECT ${client} AS client, service, category FROM exchanges
)
ARRAY JOIN [('service', service), ('category', category), ('client', client)] AS entry
WHERE value != ''
ORDER BY kind, value
LIMIT 30000 BY kind
