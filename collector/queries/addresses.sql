-- The addresses and names one client had.
SELECT replaceOne(toString(client_ip), '::ffff:', '') AS address,
       client_host,
       user,
       client_mac,
       min(start_time) AS first_seen,
       max(end_time) AS last_seen
FROM usage
WHERE ${filter}
GROUP BY address, client_host, user, client_mac
ORDER BY last_seen DESC
LIMIT 1000
