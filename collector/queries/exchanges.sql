-- Exchanges whose content could be read, by model and operation; an empty parameter means any.
SELECT multiIf(user != '', user, client_host != '', client_host, replaceOne(toString(client_ip), '::ffff:', '')) AS client,
       service,
       operation,
       model,
       evidence,
       count() AS exchanges,
       sum(exchanges.bytes_up) AS bytes_up,
       sum(exchanges.bytes_down) AS bytes_down,
       sum(exchanges.tokens_in) AS tokens_in,
       sum(exchanges.tokens_out) AS tokens_out,
       arraySort(arrayDistinct(arrayFlatten(groupArray(100)(tools)))) AS tools,
       max(time) AS last_seen
FROM exchanges
WHERE exchanges.time >= {start:DateTime64(6, 'UTC')} AND exchanges.time < {end:DateTime64(6, 'UTC')}
  AND (empty({services:Array(String)}) OR has({services:Array(String)}, service))
  AND (empty({categories:Array(String)}) OR has({categories:Array(String)}, category))
  AND (empty({clients:Array(String)}) OR has({clients:Array(String)}, client))
  AND ({service:String} = '' OR service = {service:String})
  AND ({client:String} = '' OR client = {client:String})
GROUP BY client, service, operation, model, evidence
ORDER BY exchanges DESC
LIMIT 1000
