-- Whom a person would be told about: alert and above.
SELECT client, service, verdict, rule, count() AS events,
       sumIf(judged.bytes_up, kind = 'connections') AS bytes_up,
       min(judged.time) AS first_seen, max(judged.time) AS last_seen
FROM (${judged}) AS judged
WHERE has({verdicts:Array(String)}, verdict)
GROUP BY client, service, verdict, rule
ORDER BY indexOf({verdicts:Array(String)}, verdict) DESC, events DESC, client, service
LIMIT {rows:UInt64}
