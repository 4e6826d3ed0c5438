"""What an exchange cost by a dated price list, `signatures/prices.yaml`. What is not there has no cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from sensor.proxy.providers.model import Result

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float
    cached: float | None = None
    written: float | None = None
    up_to: int | None = None  # input tokens for which it holds

    def cost(self, result: Result) -> float | None:
        """In US dollars, None where a number or a price is missing."""
        tokens_in, cached, written = result.tokens_in, result.tokens_cached or 0, result.tokens_written or 0
        if tokens_in is None or not result.listed or (self.up_to is not None and tokens_in > self.up_to):
            return None
        if (result.tokens_out is None and self.output) or cached + written > tokens_in:
            return None
        if (cached and self.cached is None) or (written and self.written is None):
            return None
        total = (tokens_in - cached - written) * self.input + (result.tokens_out or 0) * self.output
        return (total + cached * (self.cached or 0) + written * (self.written or 0)) / MILLION


class Prices:
    """By service and model."""

    def __init__(self, prices: Mapping[tuple[str, str], Price]) -> None:
        self._prices = prices

    def cost(self, service: str, model: str, result: Result) -> float | None:
        """`model` is the request's; the answer's own name comes first."""
        price = self._prices.get((service, result.model)) or self._prices.get((service, model))
        return price.cost(result) if price and result.status < 400 else None


def read_prices(text: str) -> Prices:
    """The list from its YAML text. ValueError says which entry is wrong."""
    found: dict[tuple[str, str], Price] = {}
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"prices: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("prices"), list):
        raise ValueError("prices: a list is expected")
    for number, entry in enumerate(content["prices"]):
        try:
            price = _price(entry, content.get("sources") or {})
            named = {(str(entry["service"]), str(model)): price for model in entry["models"]}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"prices[{number}]: {error}") from error
        if twice := found.keys() & named.keys():
            raise ValueError(f"prices[{number}]: {sorted(twice)} has a price already")
        found |= named
    return Prices(found)


def _price(entry: Mapping[str, Any], sources: Mapping[str, str]) -> Price:
    if entry["source"] not in sources or not entry["checked"]:
        raise ValueError("a source of `sources` and a date are needed")
    price = Price(**entry["usd"])
    if any(isinstance(value, str) or value < 0 for value in entry["usd"].values()):
        raise ValueError("usd: numbers from 0 are expected")
    return price
