-- Services that a client looked up and never connected to in this time: a hint, not use.
SELECT multiIf(user != '', user, client_host != '', client_host, replaceOne(toString(client_ip), '::ffff:', '')) AS client,
       service,
       category,
       count() AS lookups,
       max(time) AS last_seen
FROM lookups
WHERE time >= {start:DateTime64(6, 'UTC')} AND time < {end:DateTime64(6, 'UTC')}
  AND (empty({services:Array(String)}) OR has({services:Array(String)}, service))
  AND (empty({categories:Array(String)}) OR has({categories:Array(String)}, category))
  AND (empty({clients:Array(String)}) OR has({clients:Array(String)}, client))
  AND service != ''
  AND (client, service) NOT IN (
      SELECT client, service
      FROM usage
      WHERE time >= {start:DateTime64(6, 'UTC')} AND time < {end:DateTime64(6, 'UTC')})
GROUP BY client, service, category
ORDER BY lookups DESC
LIMIT 1000
