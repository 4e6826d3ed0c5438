import pytest

from sensor.proxy.providers import Request, Secret
from sensor.proxy.providers.credential import claims, credential, retries


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        ({"authorization": "Bearer sk-1"}, {}, "sk-1"),
        ({"x-api-key": "sk-2"}, {}, "sk-2"),
        ({"api-key": "k"}, {}, "k"),
        ({"x-goog-api-key": "AIza"}, {}, "AIza"),
        ({}, {"key": "AIzb"}, "AIzb"),
        ({}, {}, ""),
        ({"authorization": "Bearer "}, {}, ""),
        (
            {"authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/x, Signature=0"},
            {},
            "AKIAIOSFODNN7EXAMPLE",
        ),
    ],
)
def test_credentials(headers: dict[str, str], query: dict[str, str], expected: str) -> None:
    assert credential(Request("POST", "https", "x", 443, "/", query, headers)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 0),
        ({"x-stainless-retry-count": "2"}, 2),
        ({"x-stainless-retry-count": "x"}, 0),
        ({"amz-sdk-request": "attempt=3; max=5"}, 2),
        ({"amz-sdk-request": "attempt=1"}, 0),
        ({"x-stainless-retry-count": "99999"}, 9999),
    ],
)
def test_retries(headers: dict[str, str], expected: int) -> None:
    assert retries(headers) == expected


def test_claims_of_what_is_no_token() -> None:
    assert claims("sk-1") == {}


def test_a_secret_tells_nothing() -> None:
    secret = Secret("sk-1")
    assert (str(secret), bool(secret), bool(Secret())) == ("Secret(...)", True, False)
    assert secret == Secret("sk-1") != Secret("sk-2")
    assert len(secret.fingerprint(b"k")) == 16
    assert Secret().fingerprint(b"k") == ""
    assert not hasattr(secret, "__dict__")
