-- What another version of the policy says otherwise.
SELECT client, service, old_verdict, old_rule, verdict, rule, count() AS events,
       sumIf(judged.bytes_up, kind = 'connections') AS bytes_up
FROM (${judged}) AS judged
WHERE verdict != old_verdict OR rule != old_rule
GROUP BY client, service, old_verdict, old_rule, verdict, rule
ORDER BY indexOf({verdicts:Array(String)}, verdict) DESC, events DESC, client, service
LIMIT {rows:UInt64}
