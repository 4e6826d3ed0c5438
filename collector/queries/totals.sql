-- How much in all: the pages' headlines, which must not depend on how many rows a table has room for.
SELECT uniqExact(client) AS clients,
       uniqExact(service) AS services,
       sum(first) AS connections,
       sum(usage.bytes_up) AS bytes_up,
       sum(usage.bytes_down) AS bytes_down
FROM usage
WHERE ${filter}
