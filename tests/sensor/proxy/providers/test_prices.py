import datetime as dt
import re
from pathlib import Path

import pytest
import yaml

from sensor.proxy.providers import Result
from sensor.proxy.providers.prices import read_prices

LIST = Path(__file__).parents[4] / "signatures" / "prices.yaml"
TEXT = """
sources: {s: "https://example.com"}
prices:
  - service: a
    models: [m, n]
    usd: {input: 2, output: 10, cached: 0.5, written: 3, up_to: 1000}
    source: s
    checked: 2026-11-22
  - {service: a, models: [plain], usd: {input: 2, output: 10}, source: s, checked: 2026-11-22}
  - {service: a, models: [embed], usd: {input: 2, output: 0}, source: s, checked: 2026-11-22}
"""


@pytest.mark.parametrize(
    ("model", "result", "expected"),
    [
        ("m", Result(200, tokens_in=100, tokens_out=10), (100 * 2 + 10 * 10) / 1e6),
        ("x", Result(200, "n", tokens_in=100, tokens_out=10), (100 * 2 + 10 * 10) / 1e6),
        (
            "m",
            Result(200, tokens_in=100, tokens_out=10, tokens_cached=40, tokens_written=20),
            (40 * 2 + 40 * 0.5 + 20 * 3 + 100) / 1e6,
        ),
        ("embed", Result(200, tokens_in=100), 200 / 1e6),
        ("m", Result(200, tokens_in=100), None),
        ("m", Result(200, tokens_out=100), None),
        ("m", Result(200, tokens_in=1_001, tokens_out=10), None),
        ("m", Result(429, tokens_in=100, tokens_out=10), None),
        ("m", Result(200, tokens_in=100, tokens_out=10, listed=False), None),
        ("m", Result(200, tokens_in=10, tokens_out=10, tokens_cached=40), None),
        ("plain", Result(200, tokens_in=100, tokens_out=10, tokens_cached=40), None),
        ("m-2026", Result(200, tokens_in=100, tokens_out=10), None),
    ],
)
def test_costs(model: str, result: Result, expected: float | None) -> None:
    assert read_prices(TEXT).cost("a", model, result) == (
        pytest.approx(expected) if expected is not None else None
    )
    assert read_prices(TEXT).cost("b", model, result) is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("models: [plain]", "models: [m]", "has a price already"),
        ("{input: 2, output: 0}", "{input: -2, output: 0}", "numbers"),
        ("{input: 2, output: 0}", "{input: x, output: 0}", "numbers"),
        ("{input: 2, output: 0}", "{inputs: 2, output: 0}", "inputs"),
        ("models: [embed], ", "", "models"),
        ("output: 0}, source: s", "output: 0}, source: t", "source"),
    ],
)
def test_errors_name_the_entry(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(ValueError, match=rf"prices\[\d\].*{message}"):
        read_prices(TEXT.replace(old, new))
    for text in ("prices: 1", "prices: [", "", "- 1"):
        with pytest.raises(ValueError, match="prices"):
            read_prices(text)


def test_the_list_in_use() -> None:
    text = LIST.read_text("utf-8")
    prices = read_prices(text)
    files = (LIST.parent / "services").glob("*.yaml")
    services = {
        name for file in files for name in re.findall(r"^  - id: (\S+)$", file.read_text("utf-8"), re.M)
    }
    for entry in yaml.safe_load(text)["prices"]:
        assert entry["service"] in services
        assert isinstance(entry["checked"], dt.date)
        assert set(entry["usd"]) >= {"input", "output"}
    assert prices.cost(
        "openai-api", "gpt-4o", Result(200, "gpt-4o-2024-08-06", tokens_in=1_000_000, tokens_out=0)
    ) == pytest.approx(2.5)
