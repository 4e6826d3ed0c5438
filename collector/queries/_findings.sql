(
    SELECT findings.*, kinds.category AS category, hosts.client_host AS client_host,
           if(client_ip = toIPv6('::') AND user = '', '', ${client}) AS client  -- a finding about a sensor has none
    FROM findings
    GLOBAL LEFT ANY JOIN (
        SELECT connections.client_ip AS ip, argMax(connections.client_host, time) AS client_host
        FROM connections
        WHERE connections.client_host != '' AND ip GLOBAL IN (SELECT client_ip FROM findings)
        GROUP BY ip
    ) AS hosts ON hosts.ip = findings.client_ip
    GLOBAL LEFT ANY JOIN (
        SELECT connections.service AS used, any(connections.category) AS category
        FROM connections
        WHERE used GLOBAL IN (SELECT service FROM findings WHERE service != '')
        GROUP BY used
    ) AS kinds ON kinds.used = findings.service
) AS usage
