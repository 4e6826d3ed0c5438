-- Which kinds of data were in what was asked, by service. Exchanges that were sent again are counted once.
SELECT usage.service AS service,
       arrayJoin(usage.data_classes) AS data_class,
       uniqExact(client) AS clients,
       count() AS exchanges,
       countIf(verdict IN ('redact', 'block')) AS stopped,
       max(usage.time) AS last_seen
FROM (SELECT *, ${client} AS client FROM exchanges WHERE NOT retry) AS usage
WHERE ${filter}
GROUP BY service, data_class
ORDER BY exchanges DESC, service, data_class
LIMIT 1000
