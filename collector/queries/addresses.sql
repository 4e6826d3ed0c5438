-- The addresses and names one client had.
SELECT replaceOne(toString(client_ip), '::ffff:', '') AS address,
       client_host,
       user,
       client_mac,
       min(start_time) AS first_seen,
       max(end_time) AS last_seen
FROM usage
WHERE time >= {start:DateTime64(6, 'UTC')} AND time < {end:DateTime64(6, 'UTC')}
  AND (empty({services:Array(String)}) OR has({services:Array(String)}, service))
  AND (empty({categories:Array(String)}) OR has({categories:Array(String)}, category))
  AND (empty({clients:Array(String)}) OR has({clients:Array(String)}, client))
  AND client = {client:String}
GROUP BY address, client_host, user, client_mac
ORDER BY last_seen DESC
LIMIT 1000
