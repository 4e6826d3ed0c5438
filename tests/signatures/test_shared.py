"""The catalogue against lists of others: false friends stay silent, and what several agree on is known."""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path

import pytest

from sensor.knowledge.catalogue import Catalogue, load
from sensor.knowledge.catalogue_files import PACKAGED

FACTS = Path(__file__).parents[3] / "shared" / "facts"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not FACTS.is_dir(), reason="../shared/facts is not there"),
]

# Rows of fp_traps.tsv that say themselves which service they are: everything else there is silent.
STATED = {"cognitiveservices.azure.com": "azure-ai-services"}


@cache
def catalogue() -> Catalogue:
    return load(cache=False)


def rows(name: str) -> list[dict[str, str]]:
    with (FACTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def rejected() -> dict[str, str]:
    lines = (PACKAGED / "rejected.tsv").read_text("utf-8").splitlines()
    return dict(line.split("\t") for line in lines if line and not line.startswith("#"))


def test_false_friends() -> None:
    traps = rows("fp_traps.tsv")
    assert len(traps) == 198
    wrong = {}
    for row in traps:
        name = row["domain"].removeprefix("keyword:")
        for probe in (name, f"{name}.com", f"x{name}.example") if row["domain"] != name else (name,):
            found = catalogue().match(probe)
            if (found.service if found else None) != STATED.get(probe) and not _own(row["domain"], probe):
                wrong[probe] = found
    assert wrong == {}


def _own(domain: str, probe: str) -> bool:
    """A keyword's `.com` may be the vendor's own name: the trap is the keyword within other names."""
    return domain.startswith("keyword:") and probe == f"{domain.removeprefix('keyword:')}.com"


FILLING = {"ai", "labs", "lab", "research", "cloud", "inc", "the", "of", "closed", "various", "unofficial"}


def words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))


def same_vendor(stated: str, ours: str) -> bool:
    """Whether two ways to write a vendor's name share a telling word; no statement agrees with all."""
    telling = words(stated) - FILLING
    return not telling or bool(telling & words(ours))


@pytest.mark.parametrize(("least", "most", "share"), [(3, 99, 0.97), (2, 2, 0.93)])
def test_what_lists_agree_on_is_known(least: int, most: int, share: float) -> None:
    refused = rejected()
    meant = [
        r for r in rows("domains.tsv") if "FP-TRAP" not in r["flags"] and least <= int(r["lists"]) <= most
    ]
    right, missed = 0, []
    for row in meant:
        found = (
            catalogue().match(row["domain"].replace("*", "x").lstrip(".")) if row["kind"] != "regex" else None
        )
        ours = catalogue().services[found.service].vendor if found else None
        if ours and same_vendor(row["vendor"], f"{ours.vendor} {ours.name}"):
            right += 1
        else:
            missed.append((row["domain"], row["vendor"], found and found.vendor))
    print(f"{least}+ lists: {right} of {len(meant)} = {right / len(meant):.1%}; missed: {missed}")
    assert right / len(meant) >= share
    unexplained = [
        domain for domain, *_ in missed if not refused.get(domain, refused.get(f"keyword:{domain}"))
    ]
    assert unexplained == []


def test_every_rejection_has_a_reason_and_no_rule_of_its_own() -> None:
    for name, reason in rejected().items():
        assert len(reason) > 3, name
        found = catalogue().match(name)
        assert found is None or found.rule != name, name
