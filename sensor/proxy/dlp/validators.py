"""Checks of what a pattern found: checksums, issuer ranges, entropy. Pure functions on short texts.

A detector names them: `luhn`, `entropy 3.5`, `stdnum de.idnr`. Checksums are python-stdnum's, phone numbers
phonenumbers' (Google's libphonenumber).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable

import phonenumbers
from stdnum import iban, luhn

from sensor.proxy.dlp import likely

Check = Callable[[str], bool]


class UnknownCheckError(ValueError):
    """A check that this module does not have, or one with a wrong argument."""


def digits(value: str) -> str:
    """The ASCII digits of a text."""
    return "".join(c for c in value if c in "0123456789")


# ISO/IEC 7812 issuer ranges: first digits (inclusive, as text of equal length) and the lengths of such numbers.
_ISSUERS = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", (14,)),  # Diners Club
    ("36", "36", (14,)),
    ("38", "39", (14,)),
    ("6011", "6011", (16, 19)),  # Discover
    ("644", "649", (16, 19)),
    ("65", "65", (16, 19)),
    ("3528", "3589", (16,)),  # JCB
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("5018", "5018", (12, 16, 19)),  # Maestro
    ("5020", "5020", (16, 19)),
    ("5038", "5038", (16, 19)),
    ("6304", "6304", (16, 19)),
    ("6759", "6759", (16, 19)),
    ("6761", "6763", (16, 19)),
    ("2200", "2204", (16,)),  # Mir
    ("9792", "9792", (16,)),  # Troy
)


def card(value: str) -> bool:
    """A number with an issuer's prefix and length, and a right check digit."""
    number = digits(value)
    if len(set(number)) < 2 or not luhn.is_valid(number):
        return False
    return any(low <= number[: len(low)] <= high and len(number) in sizes for low, high, sizes in _ISSUERS)


# What card networks and processors publish for tests. Real enough to be worth a hit, sure enough not to be a card.
_TEST_CARDS = frozenset((
    "4111111111111111", "4012888888881881", "4222222222222", "4242424242424242", "4000056655665556",
    "5555555555554444", "5105105105105100", "2223003122003222", "5200828282828210", "378282246310005",
    "371449635398431", "378734493671000", "6011111111111117", "6011000990139424", "30569309025904",
    "38520000023237", "3530111333300000", "3566002020360505", "6200000000000005", "5431111111111111",
    "4917610000000000", "4000000000000002", "4000000000009995", "4012000033330026", "5424000000000015",
    "4007000000027", "6011000000000012", "4005519200000004", "4009348888881881", "4500600000000061",
))  # fmt: skip


def test_card(value: str) -> bool:
    """A number that is published for tests."""
    return digits(value) in _TEST_CARDS


def _iban(value: str) -> bool:
    return bool(iban.is_valid("".join(c for c in value if c.isalnum())))


_FILE_ENDINGS = frozenset((
    "png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "css", "scss", "js", "jsx", "tsx", "json", "html", "htm",
    "xml", "yml", "yaml", "toml", "lock", "txt", "log", "zip", "gz", "tar", "jar", "exe", "dll", "so", "pdf",
    "docx", "xlsx", "pptx", "mp3", "mp4", "woff", "woff2", "ttf", "map", "min", "local", "internal", "localhost",
    "lan",
))  # fmt: skip
# Addresses of machines and roles, which say nothing of a person.
_ROLES = frozenset((
    "git", "noreply", "no-reply", "donotreply", "do-not-reply", "mailer-daemon", "postmaster", "hg", "svn", "ssh",
    "root",
))  # fmt: skip


def _email(value: str) -> bool:
    local, _, domain = value.rpartition("@")
    last = domain.rpartition(".")[2].lower()
    if last in _FILE_ENDINGS or not last.isalpha() or local.lower() in _ROLES:
        return False
    if local.startswith(".") or local.endswith(".") or ".." in value or len(local) > 64:
        return False  # RFC 5321 4.1.2, 4.5.3.1.1
    return all(label and not label.startswith("-") and not label.endswith("-") for label in domain.split("."))


def _phone(value: str, regions: tuple[str, ...]) -> bool:
    if len(set(digits(value))) < 3 or "  " in value:
        return False
    for region in (None,) if value.startswith("+") else regions:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(value, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False


# Numbers that are known for being published, not for being someone's.
_KNOWN_FAKES = frozenset({"123456789", "219099999", "078051120", "111111111", "987654321", "12345678909"})


_ORDERS = ("instruction", "prompt", "direction", "directive", "rule", "guideline", "command", "constraint", "guardrail",
           "polic", "programming", "training", "anweisung", "befehl", "regeln", "instruktion", "vorgaben", "consignes",
           "instruccion", "istruzion", "indicacion")  # fmt: skip


def _override(value: str) -> bool:
    """The text speaks of instructions, not of mail, files or plans."""
    return any(word in value.lower() for word in _ORDERS)


def _stdnum(name: str) -> Check:
    try:
        found: Check = importlib.import_module(f"stdnum.{name}").is_valid
    except (ImportError, AttributeError):
        raise UnknownCheckError(f"python-stdnum has no {name!r}") from None

    def valid(value: str) -> bool:
        plain = "".join(c for c in value if c.isalnum())
        return plain not in _KNOWN_FAKES and len(set(plain)) > 2 and found(value.upper())

    return valid


def _nino(value: str) -> bool:
    """Prefixes that are never given out (HMRC NIM39110)."""
    return value[:2].upper() not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def _german_id(value: str) -> bool:
    """Identity card and passport: weights 7, 3, 1, letters from 10 (ICAO Doc 9303-3 4.9)."""
    total = sum(int(c, 36) * (7, 3, 1)[i % 3] for i, c in enumerate(value[:-1]))
    return value[-1] == str(total % 10)


_SIMPLE: dict[str, Check] = {
    "card": card,
    "test-card": test_card,
    "not-test-card": lambda value: not test_card(value),
    "luhn": lambda value: bool(luhn.is_valid(digits(value))),
    "iban": _iban,
    "jwt": likely.jwt,
    "pem": likely.pem,
    "password": likely.password,
    "gb-nino": _nino,
    "de-id": _german_id,
    "literal": likely.literal,
    "named": likely.named,
    "secret": likely.secret,
    "email": _email,
    "override": _override,
    "not-placeholder": lambda value: not likely.placeholder(value),
    "mixed": lambda value: any(c.isdigit() for c in value) and any(c.isalpha() for c in value),
    "upper-and-lower": lambda value: any(c.isupper() for c in value) and any(c.islower() for c in value),
}
_WITH_ARGUMENT: dict[str, Callable[[str], Check]] = {
    "stdnum": _stdnum,
    "entropy": lambda least: lambda value: likely.entropy(value) >= float(least),
    "distinct": lambda least: lambda value: len(set(value)) >= int(least),
}


@functools.cache
def check(entry: str, regions: tuple[str, ...]) -> Check:
    """The check that `name` or `name argument` names; `regions` are where numbers without a country are from.

    Raises UnknownCheckError.
    """
    name, _, argument = entry.partition(" ")
    if entry in _SIMPLE:
        return _SIMPLE[entry]
    if entry == "phone":
        return functools.partial(_phone, regions=regions)
    if name not in _WITH_ARGUMENT or not argument:
        raise UnknownCheckError(f"unknown check {entry!r}")
    made = _WITH_ARGUMENT[name](argument)
    try:
        made("a1")
    except (ValueError, TypeError):
        raise UnknownCheckError(f"{argument!r} is no argument of {name}") from None
    return made
