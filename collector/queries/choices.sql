-- What the filters offer.
SELECT DISTINCT entry.1 AS kind, entry.2 AS value
FROM usage
ARRAY JOIN [('service', service), ('category', category), ('client', client)] AS entry
LIMIT 30000
