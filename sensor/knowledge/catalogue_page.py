"""The catalogue as one HTML file: no server, no network, no script but the filter."""

from __future__ import annotations

from html import escape
from itertools import groupby

from sensor.knowledge.catalogue import Catalogue, Entry
from sensor.knowledge.catalogue_model import CATEGORIES

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>aiscope catalogue</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
input { font: inherit; width: 100%; padding: .4rem; box-sizing: border-box; }
article { border-top: 1px solid #ddd; padding: .6rem 0; }
h3 { margin: 0; font-size: 1rem; }
code { background: #f3f3f3; padding: 0 .2rem; }
small { color: #666; }
</style>
"""

_FILTER = """<script>
document.querySelector("input").addEventListener("input", function () {
  const words = this.value.toLowerCase().split(/ +/);
  for (const item of document.querySelectorAll("article")) {
    const text = item.textContent.toLowerCase();
    item.hidden = !words.every((word) => text.includes(word));
  }
});
</script>
"""


def render(catalogue: Catalogue) -> str:
    """The page. The same catalogue gives the same page."""
    entries = sorted(
        catalogue.services.values(),
        key=lambda entry: (
            CATEGORIES.index(entry.service.category),
            entry.service.name.lower(),
            entry.service.id,
        ),
    )
    vendors = len({entry.vendor.vendor for entry in entries})
    parts = [
        _HEAD,
        "<h1>Catalogue of AI services</h1>\n",
        f"<p>{len(entries)} services of {vendors} vendors, version {escape(catalogue.id)}.</p>\n",
        '<input type="search" aria-label="Filter" placeholder="Filter: name, vendor, host, category">\n',
    ]
    for category, members in groupby(entries, key=lambda entry: entry.service.category):
        parts.append(f"<h2>{escape(category)}</h2>\n")
        parts += [_article(catalogue, entry) for entry in members]
    return "".join([*parts, _FILTER])


def _article(catalogue: Catalogue, entry: Entry) -> str:
    service, vendor = entry.service, entry.vendor
    score = catalogue.score(service.id).score
    facts = [
        service.id,
        vendor.name,
        vendor.country or "",
        service.category,
        "" if score is None else f"risk {score}",
    ]
    rules = "".join(
        f"<div><small>{role} {kind}</small> <code>{escape(text)}</code></div>\n"
        for kind, role, text in entry.rules()
    )
    links = " ".join(f'<a href="{escape(url)}" rel="noreferrer">source</a>' for url in service.sources)
    return (
        f'<article id="{service.id}">\n'
        f"<h3>{escape(service.name)} <small>{escape(' · '.join(filter(None, facts)))}</small></h3>\n"
        f"<div>{escape(service.description or '')}</div>\n{rules}"
        f"<small>{links} · checked {service.checked}</small>\n</article>\n"
    )
