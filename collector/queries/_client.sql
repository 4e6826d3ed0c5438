multiIf(user != '', user, client_host != '', client_host, replaceOne(toString(client_ip), '::ffff:', ''))
