-- What could be read, in one row: how many exchanges, how many with a kind of data in them, tokens and cost.
SELECT count() AS exchanges,
       countIf(notEmpty(data_classes)) AS classified,
       sum(length(attachments)) AS attachments,
       sum(tokens_in) AS tokens_in,
       sum(tokens_out) AS tokens_out,
       sum(cost_usd) AS cost_usd
FROM (SELECT *, ${client} AS client FROM exchanges WHERE NOT retry) AS usage
WHERE ${filter}
