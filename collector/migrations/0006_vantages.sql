-- Sensors that may see the same connections, in the order in which they count: of one connection (its Community ID
-- on the day it began, by clocks that differ by less than a minute) `usage` has the rows of the sensor with the
-- lowest rank. Sensors that are not listed always count, and while fewer than two are listed nothing is compared.

CREATE TABLE IF NOT EXISTS aiscope.vantages${local} ${on_cluster}
(
    sensor          String,
    rank            UInt16,
    changed         DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ${ReplacingMergeTree}(changed)
ORDER BY sensor
SETTINGS ${window};

-- only: cluster
CREATE TABLE IF NOT EXISTS aiscope.vantages ${on_cluster} AS aiscope.vantages_local
ENGINE = Distributed(${cluster}, aiscope, vantages_local, cityHash64(sensor));

CREATE OR REPLACE VIEW aiscope.usage ${on_cluster} AS
SELECT
    multiIf(c.user != '', c.user, c.client_host != '', c.client_host, replaceOne(toString(c.client_ip), '::ffff:', ''))
        AS client,
    c.*
FROM aiscope.connections AS c
WHERE c.service != '' AND c.role != 'relay'
    AND ((SELECT count() FROM aiscope.vantages FINAL WHERE rank > 0) < 2
        OR cityHash64(c.flow_id, toDate(c.start_time), c.sensor) GLOBAL NOT IN (
            SELECT cityHash64(k.flow_id,
                arrayJoin(arrayDistinct([toDate(k.start_time - 60), toDate(k.start_time + 60)])), pair.later)
            FROM aiscope.connections AS k
            GLOBAL INNER JOIN (
                SELECT v.sensor AS sensor, w.sensor AS later
                FROM aiscope.vantages AS v FINAL CROSS JOIN aiscope.vantages AS w FINAL
                WHERE v.rank > 0 AND v.rank < w.rank
            ) AS pair ON pair.sensor = k.sensor
            WHERE k.service != ''
        ));
