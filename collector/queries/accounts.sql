-- With which accounts services are used: an organisation's, or a person's own.
SELECT usage.service AS service,
       account_type,
       account,
       uniqExact(client) AS clients,
       count() AS exchanges,
       sum(usage.bytes_up) AS bytes_up,
       max(usage.time) AS last_seen
FROM (SELECT *, ${client} AS client FROM exchanges WHERE NOT retry) AS usage
WHERE ${filter}
  AND (account_type != '' OR account != '')
GROUP BY service, account_type, account
ORDER BY account_type = 'personal' DESC, exchanges DESC
LIMIT 1000
