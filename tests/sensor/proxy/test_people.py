from __future__ import annotations

import pytest

from sensor.knowledge.inventory import parse
from sensor.proxy.people import Client, Exceptions, People, who

INVENTORY = parse("address,host,user,groups\n10.0.0.0/24,desk,anna,works-council;staff\n", "x.csv")


class Connection:
    def __init__(self, ip: str) -> None:
        self.id, self.peername = ip, (ip, 1)


def test_authentication_is_above_the_address() -> None:
    assert who(INVENTORY, "10.0.0.1", "", 0) == Client("10.0.0.1", "anna", "desk", ("works-council", "staff"))
    assert who(INVENTORY, "10.0.0.1", "berta", 0) == Client("10.0.0.1", "berta", "desk", ())
    people, connection = People(INVENTORY, lambda: 0), Connection("::ffff:10.9.9.9")
    people.named(connection, "carla")
    assert people.client(connection) == Client("10.9.9.9", "carla")
    people.forget(connection)
    assert people.client(connection) == Client("10.9.9.9")


def test_exceptions_of_every_kind() -> None:
    held = Exceptions(("service:claude", "user:berta", "group:works-council", "subnet:10.1.0.0/16"))
    assert held.hold(Client("10.9.9.9"), "claude")
    assert held.hold(Client("10.9.9.9", "berta"), "chatgpt")
    assert held.hold(Client("10.9.9.9", groups=("works-council",)), "chatgpt")
    assert held.hold(Client("10.1.2.3"), "chatgpt")
    assert not held.hold(Client("10.9.9.9", "anna"), "chatgpt")


@pytest.mark.parametrize("entry", ["claude", "host:x", "user:", "subnet:10.0.0.1/8"])
def test_a_wrong_exception_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match=r"expected KIND:NAME|has host bits set"):
        Exceptions((entry,))
