-- How often each rule decides.
SELECT rule, verdict, count() AS events, uniqExact(client) AS clients, uniqExact(service) AS services,
       sumIf(judged.bytes_up, kind = 'connections') AS bytes_up
FROM (${judged}) AS judged
GROUP BY rule, verdict
ORDER BY events DESC, rule
