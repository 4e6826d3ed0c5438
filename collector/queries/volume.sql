-- Data sent to each service over time, in at most about 72 steps of whole minutes.
WITH (
    SELECT greatest(60, intDiv(dateDiff('second', min(time), max(time)), 72 * 60) * 60)
    FROM usage
    WHERE time >= {start:DateTime64(6, 'UTC')} AND time < {end:DateTime64(6, 'UTC')}
) AS step
SELECT toDateTime64(toStartOfInterval(time, toIntervalSecond(step)), 0, 'UTC') AS bucket,
       service,
       sum(usage.bytes_up) AS bytes_up
FROM usage
WHERE ${filter}
GROUP BY bucket, service
ORDER BY bucket, service
