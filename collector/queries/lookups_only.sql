-- Services that a client looked up and never connected to in this time: a hint, not use. Who had no name yet when
-- it asked is its address.
SELECT client,
       service,
       category,
       count() AS lookups,
       max(usage.time) AS last_seen
FROM (SELECT *, ${client} AS client FROM lookups) AS usage
WHERE ${filter}
  AND service != ''
  AND (client, service) GLOBAL NOT IN (
      SELECT arrayJoin([client, replaceOne(toString(client_ip), '::ffff:', '')]), service
      FROM usage
      WHERE time >= {start:DateTime64(6, 'UTC')} AND time < {end:DateTime64(6, 'UTC')})
GROUP BY client, service, category
ORDER BY lookups DESC
LIMIT 1000
