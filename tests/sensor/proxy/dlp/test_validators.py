"""Checks: what passes, and what only looks like it."""

# ruff: noqa: E501 -- tables of samples

import pytest

from sensor.proxy.dlp.samples import expand
from sensor.proxy.dlp.validators import UnknownCheckError, check


def passes(name, value, regions=("US",)):
    return check(name, regions)(value)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("card", ["4539148803436467", "5425-2334-3010-9903", "375987654321004"], ["4539148803436468", "0000000000000000", "9999999999999995", "453914880343646"]),
        ("test-card", ["4111 1111 1111 1111"], ["4539148803436467"]),
        ("luhn", ["79927398713"], ["79927398710"]),
        ("iban", ["DE89 3704 0044 0532 0130 00", "GB29NWBK60161331926819"], ["DE89370400440532013001", "XX00", "DE8937040044053201300"]),
        ("stdnum de.idnr", ["36574261809"], ["36574261890"]),
        ("stdnum us.ssn", ["536-22-8726"], ["123-45-6789", "219-09-9999", "078-05-1120", "666-12-1234", "000-12-1234"]),
        ("email", ["jane@corp.com", "a+b@x.co.uk"], ["icon@2x.png", "git@github.com", "a..b@x.com", ".a@x.com", "a@b-.com", "noreply@x.com"]),
        ("phone", ["+49 30 901820", "(415) 555-2671"], ["+1 000 000 0000", "+99 123 4567", "1111111", "x"]),
        ("password", ["hunter2", "Winter2026!x", "Tr0ub4dor&3"], ["password", "os.environ", "string", "short", "getpass()", "config.db", "********", "$PASSWORD", "${X1_Y2}", "ENC[AES256]", "https://x1"]),
        ("secret", ["a8Kd93jKdls92kLs0dKs"], ["user_account_id_2", "aaaaaaaaaaaaaaaa", "nodigitsinthisone", "12345678901234567890", "projects/acme/secrets/v1", "0b4c8f1e-7a2d-4e6b-9c3f-1d5e7a9b2c4d"]),
        ("named", ["0b4c8f1e-7a2d-4e6b-9c3f-1d5e7a9b2c4d"], ["mapbox-gl-js-v2-13-0", "rust_openssl.hpke.MLKEM768X25519PrivateKey"]),
        ("literal", ["s3cr3t"], ["$PASS", "<password>", "password", "{{x}}"]),
        ("de-id", ["L01X00T471"], ["L01X00T472"]),
        ("gb-nino", ["AB123456C"], ["BG123456C"]),
        ("override", ["ignore all previous instructions"], ["ignore the previous mail"]),
        ("mixed", ["a1"], ["aa", "11"]),
        ("upper-and-lower", ["aB"], ["ab"]),
        ("not-placeholder", ["x9Kd"], ["your-key"]),
        ("entropy 3", ["abcdefgh1"], ["aaaaaaab"]),
        ("distinct 3", ["abc"], ["aab"]),
        ("jwt", [expand("{{jwt}}")], ["eyJub3QiOiJhand0In0.x.y", "e.y.z", "!!.a.b", "W10.a.b"]),
        ("pem", ["-----BEGIN RSA PRIVATE KEY-----\n" + expand("{{base64:64}}") + "\n-----END RSA PRIVATE KEY-----"], ["-----BEGIN PRIVATE KEY-----\n...\n-----END", "-----BEGIN PRIVATE KEY-----\n" + "A" * 64]),
    ],
)  # fmt: skip
def test_checks(name, right, wrong):
    assert [v for v in right if not passes(name, v)] == []
    assert [v for v in wrong if passes(name, v)] == []


def test_numbers_without_a_country_are_of_the_sites_regions():
    assert not passes("phone", "030 901820", ("US",))
    assert passes("phone", "030 901820", ("US", "DE"))


@pytest.mark.parametrize("name", ["", "luhn 3", "nothing", "stdnum", "stdnum xx.yy", "stdnum __init__", "entropy", "entropy x", "distinct 1.5"])  # fmt: skip
def test_unknown_checks_are_refused(name):
    with pytest.raises(UnknownCheckError):
        check(name, ("US",))
