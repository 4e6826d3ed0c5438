from sensor.knowledge import identity
from sensor.knowledge.identity import NOBODY, Identities, Sighting, Who
from sensor.knowledge.inventory import parse
from sensor.wire.dhcp import DhcpMessage

S = 1_000_000_000
MAC = "02:00:00:00:00:07"
DISCOVER, OFFER, REQUEST, ACK, NAK, RELEASE = 1, 2, 3, 5, 6, 7


def dhcp(
    kind: int,
    *,
    client: str = "",
    your: str = "",
    host: str = "",
    fqdn: str = "",
    lease: int | None = None,
    mac: str = MAC,
) -> DhcpMessage:
    return DhcpMessage(kind, kind in (OFFER, ACK, NAK), 1, mac, client, your, "", host, fqdn, lease, ())


def test_a_lease_names_its_address_for_its_time() -> None:
    known = Identities()
    assert known.dhcp(dhcp(DISCOVER, host="laptop"), S) == []
    assert known.dhcp(dhcp(OFFER, your="10.0.0.7"), 2 * S) == []
    assert known.dhcp(dhcp(REQUEST, fqdn="laptop"), 3 * S) == []
    seen = Sighting(4 * S, 604 * S, "dhcp", "10.0.0.7", MAC, "laptop")
    assert known.dhcp(dhcp(ACK, your="10.0.0.7", lease=600), 4 * S) == [seen]
    assert known.who("10.0.0.7", 4 * S) == Who(MAC, "laptop")
    assert known.who("10.0.0.7", 604 * S) == NOBODY
    assert known.who("10.0.0.7", 3 * S) == NOBODY
    assert known.who("10.0.0.8", 4 * S) == NOBODY


def test_a_renewal_is_news_when_half_of_the_time_is_over() -> None:
    known = Identities()
    ack = dhcp(ACK, your="10.0.0.7", host="laptop", lease=600)
    assert len(known.dhcp(ack, 0)) == 1
    assert known.dhcp(ack, 299 * S) == []
    assert len(known.dhcp(ack, 300 * S)) == 1
    assert known.who("10.0.0.7", 899 * S).host == "laptop"
    assert len(known.dhcp(dhcp(ACK, your="10.0.0.7", host="other", lease=600), 301 * S)) == 1


def test_a_client_that_renews_or_informs_has_the_address() -> None:
    known = Identities()
    news = known.dhcp(dhcp(REQUEST, client="10.0.0.7", host="laptop"), 0)
    assert [(n.ip, n.host, n.until) for n in news] == [("10.0.0.7", "laptop", 86_400 * S)]


def test_a_renewal_does_not_outlast_its_lease() -> None:
    known = Identities()
    asked, ack = dhcp(REQUEST, client="10.0.0.7", host="laptop"), dhcp(ACK, your="10.0.0.7", lease=600)
    assert [n.until for n in known.dhcp(asked, 0)] == [86_400 * S]
    assert [n.until for n in known.dhcp(ack, S)] == [601 * S]
    assert [n.until for n in known.dhcp(asked, 301 * S)] == [901 * S]
    assert known.dhcp(ack, 302 * S) == []
    assert known.who("10.0.0.7", 901 * S) == NOBODY


def test_an_address_that_another_device_gets_loses_its_name() -> None:
    known = Identities()
    known.mdns([("annas-laptop.local", "10.0.0.7", 120)], "10.0.0.7", "02:00:00:00:00:08", 0)
    known.dhcp(dhcp(ACK, your="10.0.0.7"), S)  # a telephone, which says no name
    assert known.who("10.0.0.7", S) == Who(MAC)
    known.mdns([("phone.local", "10.0.0.7", 120)], "10.0.0.7", MAC, 2 * S)
    known.dhcp(dhcp(ACK, your="10.0.0.7"), 3 * S)
    assert known.who("10.0.0.7", 3 * S) == Who(MAC, "phone")


def test_a_release_ends_it_and_a_refusal_says_nothing() -> None:
    known = Identities()
    known.dhcp(dhcp(ACK, your="10.0.0.7", host="laptop"), 0)
    assert known.dhcp(dhcp(NAK), S) == []
    assert known.who("10.0.0.7", S).host == "laptop"
    assert known.dhcp(dhcp(RELEASE, client="10.0.0.7"), S) == []
    assert known.who("10.0.0.7", S) == NOBODY
    assert known.dhcp(dhcp(RELEASE, client="10.0.0.99"), S) == []


def test_requests_without_hardware_address_are_not_mixed_up() -> None:
    known = Identities()
    known.dhcp(dhcp(REQUEST, host="laptop", mac=""), 0)
    assert known.dhcp(dhcp(ACK, your="10.0.0.7", mac=""), S)[0].host == ""


def test_mdns_speaks_for_the_senders_own_name_only() -> None:
    known = Identities()
    hosts = [
        ("laptop.local", "10.0.0.7", 120),
        ("laptop.local", "fe80::7", 120),
        ("tv.local", "10.0.0.9", 120),
    ]
    news = known.mdns(hosts, "fe80::7", MAC, 0)
    assert [(n.ip, n.host, n.source, n.confidence) for n in news] == [
        ("10.0.0.7", "laptop", "mdns", 0.6),
        ("fe80::7", "laptop", "mdns", 0.6),
    ]
    assert known.mdns(hosts, "fe80::7", MAC, S) == []
    assert known.mdns([("boss.local", "10.0.0.7", 120)], "10.0.0.66", MAC, S) == []
    assert known.mdns([("www.example.com", "10.0.0.7", 120)], "10.0.0.7", MAC, S) == []
    assert known.who("10.0.0.7", 3_599 * S).host == "laptop"
    assert known.who("10.0.0.7", 3_600 * S) == NOBODY


def test_mdns_goodbye() -> None:
    known = Identities()
    known.mdns([("laptop.local", "10.0.0.7", 120)], "10.0.0.7", MAC, 0)
    assert known.mdns([("laptop.local", "10.0.0.7", 0)], "10.0.0.7", MAC, S) == []
    assert known.who("10.0.0.7", S) == NOBODY


def test_precedence_is_by_field() -> None:
    inventory = parse("address,user,groups\n10.0.0.7,anna,staff\n", "i.csv")
    known = Identities(inventory)
    known.mdns([("annas-laptop.local", "10.0.0.7", 120)], "10.0.0.7", "02:00:00:00:00:08", 0)
    assert known.who("10.0.0.7", 0) == Who("02:00:00:00:00:08", "annas-laptop", "anna", ("staff",))
    known.dhcp(dhcp(ACK, your="10.0.0.7", host="ws-7"), 0)
    assert known.who("10.0.0.7", 0) == Who(MAC, "ws-7", "anna", ("staff",))


def test_inventory_introduces_a_client_once_per_line() -> None:
    inventory = parse("address,until,user\n10.0.0.0/24,1970-01-02,anna\n10.0.0.0/16,,ben\n", "i.csv")
    known = Identities(inventory)
    assert known.introduce("10.0.0.7", S) == [
        Sighting(S, 86_400 * S, "inventory", "10.0.0.7", "", "", "anna")
    ]
    assert known.introduce("10.0.0.7", 2 * S) == []
    assert [n.user for n in known.introduce("10.0.0.7", 86_400 * S)] == ["ben"]
    assert known.introduce("192.0.2.1", S) == []


def test_hostile_names_are_printable_and_bounded() -> None:
    known = Identities()
    known.mdns([("\x1b[31m\n" + "a" * 900 + ".local", "10.0.0.7", 120)], "10.0.0.7", MAC, 0)
    host = known.who("10.0.0.7", 0).host
    assert host.startswith("\\x1b[31m\\naaa")
    assert len(host) == identity.HOST_LENGTH


def test_memory_is_bounded() -> None:
    known = Identities(addresses=3)
    for number in range(10):
        known.dhcp(
            dhcp(ACK, your=f"10.0.0.{number}", host="h", mac=f"02:00:00:00:00:{number:02}"), number * S
        )
    assert [n for n in range(10) if known.who(f"10.0.0.{n}", 10 * S).host] == [7, 8, 9]
