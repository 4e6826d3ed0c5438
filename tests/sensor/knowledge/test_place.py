from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from sensor.knowledge.place import Location, Networks, Place, PlaceError


def database(path: Path, rows: dict[str, dict[str, Any]], version: int = 6) -> Path:
    writer = MMDBWriter(version, "Test", ipv4_compatible=version == 6, int_type="uint32")
    for network, row in rows.items():
        writer.insert_network(IPSet([network]), row)
    writer.to_db_file(str(path))
    return path


COUNTRY = {
    "198.51.100.0/24": {"country": {"iso_code": "FR"}},
    "2001:db8::/32": {"country": {"iso_code": "IE"}},
}
ASN = {"198.51.100.0/24": {"autonomous_system_number": 64500, "autonomous_system_organization": "Example"}}


def test_country_and_network_of_several_files(tmp_path: Path) -> None:
    place = Place([database(tmp_path / "country.mmdb", COUNTRY), database(tmp_path / "asn.mmdb", ASN)])
    assert place.locate("198.51.100.7") == Location("FR", 64500, "Example")
    assert place.locate("2001:db8::7") == Location("IE", 0, "")
    assert place.locate("192.0.2.1") == Location()
    place.close()
    assert place.locate("198.51.100.7") == Location("FR", 64500, "Example")  # remembered


def test_registered_country_where_there_is_no_other(tmp_path: Path) -> None:
    rows = {"198.51.100.0/24": {"registered_country": {"iso_code": "US"}}}
    place = Place([database(tmp_path / "a.mmdb", rows)])
    assert place.locate("198.51.100.7").country == "US"
    place.close()


def test_ipv6_in_a_file_of_ipv4(tmp_path: Path) -> None:
    place = Place([database(tmp_path / "a.mmdb", {"198.51.100.0/24": COUNTRY["198.51.100.0/24"]}, version=4)])
    assert place.locate("2001:db8::7") == Location()
    assert place.locate("198.51.100.7").country == "FR"
    place.close()


def test_no_files() -> None:
    assert Place().locate("198.51.100.7") == Location()


def test_a_missing_file_is_said_when_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlaceError, match=r"none\.mmdb: no such database file"):
        Place([tmp_path / "none.mmdb"])


def test_a_file_of_another_kind_is_said_at_the_first_lookup(tmp_path: Path) -> None:
    path = tmp_path / "a.mmdb"
    path.write_bytes(b"not a database")
    place = Place([path])
    with pytest.raises(PlaceError, match=r"a\.mmdb: not a readable MaxMind DB file"):
        place.locate("198.51.100.7")


def test_networks() -> None:
    networks = Networks(["10.0.0.5", "10.1.0.0/16", "fd00::/8"])
    assert "10.0.0.5" in networks
    assert "10.1.2.3" in networks
    assert "fd00::1" in networks
    assert "10.0.0.6" not in networks
    assert "10.0.0.5" not in Networks()
    with pytest.raises(ValueError, match="proxy"):
        Networks(["proxy"])
