-- Exchanges whose content could be read, by model and operation, those sent again counted once.
SELECT client,
       service,
       operation,
       model,
       evidence,
       count() AS exchanges,
       sum(usage.bytes_up) AS bytes_up,
       sum(usage.bytes_down) AS bytes_down,
       sum(usage.tokens_in) AS tokens_in,
       sum(usage.tokens_out) AS tokens_out,
       sum(usage.cost_usd) AS cost_usd,
       arraySort(arrayDistinct(arrayFlatten(groupArray(100)(data_classes)))) AS data_classes,
       arraySort(arrayDistinct(arrayFlatten(groupArray(100)(tools)))) AS tools,
       max(usage.time) AS last_seen
FROM (SELECT *, ${client} AS client FROM exchanges WHERE NOT retry) AS usage
WHERE ${filter}
GROUP BY client, service, operation, model, evidence
ORDER BY exchanges DESC
LIMIT 1000
