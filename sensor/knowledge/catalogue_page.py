"""The catalogue as one HTML file: no server, no network, no script but the filter."""

from __future__ import annotations

from html import escape
from itertools import groupby
from urllib.parse import urlsplit

from sensor.knowledge.catalogue import Catalogue, Entry
from sensor.knowledge.catalogue_model import CATEGORIES
from sensor.knowledge.catalogue_score import Score

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>aiscope catalogue</title>
<style>
:root { color-scheme: light dark; --line: #8884; --dim: #777; --soft: #8881; --link: #2563a8; }
@media (prefers-color-scheme: dark) { :root { --dim: #999; --link: #7fb2ea; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0; }
nav { display: flex; flex-wrap: wrap; gap: .3rem .9rem; margin: .8rem 0; }
header { position: sticky; top: 0; background: Canvas; padding: .6rem 0; }
input { font: inherit; width: 100%; padding: .45rem .6rem; box-sizing: border-box;
  border: 1px solid var(--line); border-radius: .4rem; background: var(--soft); color: inherit; }
section > div { display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); }
article { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; overflow-wrap: anywhere;
  content-visibility: auto; contain-intrinsic-size: auto 11rem; }
article p, article dl { margin: .25rem 0; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .1rem .7rem; font-size: .87rem; }
dt, small { color: var(--dim); }
dd { margin: 0; }
code { background: var(--soft); padding: 0 .2rem; border-radius: .2rem; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
[hidden] { display: none !important; }
</style>
"""

_LEGEND = (
    "A name stands for itself and everything under it, <code>=name</code> for itself alone, <code>*</code> "
    "for characters within a label. app, api, upload and realtime are use; cdn, auth and telemetry are a "
    "weaker sign. Risk is 0 to 100; where too little is known there is none."
)

_FILTER = """<script>
const found = document.querySelector("output");
document.querySelector("input").addEventListener("input", function () {
  const words = this.value.toLowerCase().split(/ +/);
  let shown = 0;
  for (const section of document.querySelectorAll("section")) {
    let any = false;
    for (const item of section.querySelectorAll("article")) {
      const text = item.textContent.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
      any ||= !item.hidden;
      shown += !item.hidden;
    }
    section.hidden = !any;
  }
  found.textContent = this.value ? shown + " found" : "";
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
    by_category = {
        category: list(members) for category, members in groupby(entries, key=lambda e: e.service.category)
    }
    vendors = len({entry.vendor.vendor for entry in entries})
    counts = "".join(f'<a href="#{c}">{c}&nbsp;{len(found)}</a>\n' for c, found in by_category.items())
    parts = [
        _HEAD,
        "<h1>Catalogue of AI services</h1>\n",
        f"<p>{len(entries)} services of {vendors} vendors, version {escape(catalogue.id)}</p>\n",
        f"<p><small>{_LEGEND}</small></p>\n<nav>{counts}</nav>\n",
        '<header><input type="search" aria-label="Filter" placeholder="Filter: name, vendor, host, country">',
        "<small><output></output></small></header>\n",
    ]
    for category, members in by_category.items():
        articles = "".join(_article(catalogue, entry) for entry in members)
        parts.append(f'<section id="{category}"><h2>{category}</h2>\n<div>\n{articles}</div></section>\n')
    return "".join([*parts, _FILTER])


def _article(catalogue: Catalogue, entry: Entry) -> str:
    service, vendor = entry.service, entry.vendor
    score = catalogue.score(service.id)
    facts = [vendor.name, vendor.country, "" if score.score is None else f"risk {score.score}", service.id]
    links = ", ".join(_link(url, urlsplit(url).netloc) for url in service.sources)
    return (
        f'<article id="{service.id}">\n'
        f"<h3>{escape(service.name)}</h3>\n"
        f"<small>{escape(' · '.join(filter(None, facts)))}</small>\n"
        f"<p>{escape(service.description or '')}</p>\n<dl>\n{_rules(entry)}{_facts(score)}</dl>\n"
        f"<small>{links}, {service.checked}</small>\n</article>\n"
    )


def _rules(entry: Entry) -> str:
    rules = sorted(entry.rules(), key=lambda rule: rule[1])
    lines = []
    for role, group in groupby(rules, key=lambda rule: rule[1]):
        texts = [f"<code>{'=' if kind == 'exact' else ''}{escape(text)}</code>" for kind, _, text in group]
        lines.append(f"<dt>{role or 'address'}</dt><dd>{' '.join(texts)}</dd>\n")
    return "".join(lines)


def _facts(score: Score) -> str:
    """What is known for the score, each with its source."""
    return "".join(
        f"<dt>{reason.fact.replace('_', ' ')}</dt><dd>{_link(reason.source, _said(reason.value))}</dd>\n"
        for reason in score.reasons
        if reason.value is not None and reason.fact != "country"
    )


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _link(url: str, text: str) -> str:
    return f'<a href="{escape(url)}" rel="noreferrer">{escape(text)}</a>'
