"""What only stands in a secret's place, and what is random."""

# ruff: noqa: E501 -- tables of samples

import pytest

from sensor.proxy.dlp.likely import entropy, named, placeholder, sequence
from sensor.proxy.dlp.samples import expand


@pytest.mark.parametrize(
    "value",
    ["AKIAIOSFODNN7EXAMPLE", "sk-xxxxxxxxxxxxxxxx", "<your-key>", "YOUR_API_KEY", "aaaaaaaaaaaaaaaaaaaa", "${TOKEN}", "changeme", "00000000-0000-0000-0000-000000000000"],
)  # fmt: skip
def test_placeholders(value):
    assert placeholder(value)


def test_a_sequence_weighs_less_than_a_vendors_format():
    assert sequence("0123456789abcdef")
    assert not named("aBcDeFgHiJkLmNoPqRsT0123456789")
    assert not placeholder("gl" + "pat-aBcDeFgHiJkLmNoPqRsT")


def test_random_text_is_no_placeholder():
    assert not any(placeholder(expand("{{alnum:36}}", seed)) for seed in range(2_000))
    assert not any(placeholder(expand("{{hex:32}}", seed)) for seed in range(2_000))


def test_entropy():
    assert entropy("") == 0
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2
