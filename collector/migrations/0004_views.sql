-- Use of services, slice by slice: what nearly every question is about. `client` is the best name a person would know.

CREATE OR REPLACE VIEW aiscope.usage ${on_cluster} AS
SELECT
    multiIf(c.user != '', c.user, c.client_host != '', c.client_host, replaceOne(toString(c.client_ip), '::ffff:', ''))
        AS client,
    c.*
FROM aiscope.connections AS c
WHERE c.service != '' AND c.role != 'relay';
