"""The page: everything is on it, and text of the catalogue stays text."""

from __future__ import annotations

from html.parser import HTMLParser

from sensor.knowledge.catalogue_compile import compiled
from sensor.knowledge.catalogue_model import Vendor
from sensor.knowledge.catalogue_page import render

ACME = {
    "id": "acme",
    "name": "<script>alert(1)</script>",
    "category": "chat",
    "hosts": {"app": ["acme.example"], "api": ["=api.acme.example"]},
    "servers": [{"paths": ["/acme/v1"], "body": "<title>Acme"}],
    "sources": ['https://acme.example/?a=1&b="><script>'],
    "checked": "2026-11-22",
    "fires": ["acme.example"],
    "silent": ["x.example"],
}


class Seen(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.links: list[str | None] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_text_stays_text() -> None:
    vendor = Vendor.model_validate({"vendor": "acme", "name": "<b>Acme</b> & Co", "services": [ACME]})
    page = render(compiled([vendor], id="7-abc"))
    seen = Seen(page)
    assert (seen.tags.count("script"), seen.tags.count("b")) == (1, 0)
    assert seen.links == ["#chat", 'https://acme.example/?a=1&b="><script>']
    for text in ("<script>alert(1)</script>", "<b>Acme</b> & Co", "api.acme.example", "7-abc", "<title>Acme"):
        assert text in seen.text
    assert render(compiled([vendor], id="7-abc")) == page
