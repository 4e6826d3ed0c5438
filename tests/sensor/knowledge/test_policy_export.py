"""What of a policy can be said by names: nothing that is not concerned, and what is missing is listed."""

from __future__ import annotations

from functools import cache

from sensor.knowledge.catalogue import Catalogue, load
from sensor.knowledge.catalogue_compile import compiled
from sensor.knowledge.catalogue_model import Vendor
from sensor.knowledge.policy import Policy, read
from sensor.knowledge.policy_export import Plan, plan


def policy_of(*rules: str, head: str = "") -> Policy:
    text = f'version: "1"\n{head}\nrules:\n' + "".join(f"  - {rule}\n" for rule in rules)
    policy, _, problems = read(text.encode(), "policy.yaml")
    assert policy, problems
    return policy


@cache
def packaged() -> Catalogue:
    return load()


def service(id: str, **values: object) -> dict[str, object]:
    base = {
        "id": id,
        "name": id,
        "category": "chat",
        "sources": ["https://a.example/"],
        "checked": "2026-11-22",
    }
    return base | {"fires": ["a.example"], "silent": ["b.example"]} | values


def catalogue(*services: dict[str, object], vendor: str = "acme") -> Catalogue:
    return compiled(
        [Vendor.model_validate({"vendor": vendor, "name": vendor, "services": services})], id="1-a"
    )


ACME = catalogue(
    service(
        "bad", hosts={"app": ["bad.example", "=one.example", "x-*.glob.example"], "cdn": ["cdn.bad.example"]}
    ),
    service("good", hosts={"app": ["good.bad.example", "=exact.bad.example"]}),
    service("path", requests=[{"host": "shared.example", "path": "/ai/"}]),
    service("inner", requests=[{"host": "bad.example", "path": "/inner/"}]),
    service("server", servers=[{"ports": [1234], "paths": ["/v1/"]}]),
    service("deep", hosts={"app": ["again.good.bad.example"]}),
    service("addressed", addresses=["192.0.2.0/24"]),
)
RULES = (
    "{id: stop, match: {service: [bad, path, server, deep, addressed]}, verdict: block}",
    "{id: rest, verdict: allow}",
)


def texts(found: Plan) -> tuple[list[str], list[str]]:
    return [f"{p.kind} {p.name}" for p in found.names], [f"{p.kind} {p.name}" for p in found.excepted]


def test_names_exceptions_and_what_is_missing() -> None:
    found = plan(policy_of(*RULES), ACME, ["block"])
    assert texts(found) == (
        ["suffix bad.example", "exact one.example", "glob x-*.glob.example"],
        ["exact exact.bad.example", "suffix good.bad.example"],
    )
    assert found.networks == ()
    assert found.left_out == (
        "192.0.2.0/24 (addressed): inner of the same vendor is not concerned",
        "again.good.bad.example (deep): good.bad.example is not concerned",
        "inner: bad.example is concerned, and /inner/ there goes with it",
        "path: the path /ai/ on shared.example is not a name",
        "server: self-hosted, told by ports and requests",
    )


def test_a_vendors_addresses_when_all_it_has_is_concerned() -> None:
    found = plan(policy_of("{id: all, verdict: block}"), ACME, ["block"])
    assert found.networks == (("192.0.2.0/24", "addressed"),)


def test_rules_that_ask_for_more_than_a_service() -> None:
    found = plan(
        policy_of(
            "{id: some, match: {service: good, group: research}, verdict: allow}",
            "{id: night, match: {service: bad, time: {from: '20:00', until: '06:00'}}, verdict: block}",
            "{id: keys, match: {data_class: credentials}, verdict: block}",
            "{id: stop, match: {service: good}, verdict: block}",
        ),
        ACME,
        ["block"],
    )
    assert found.names == ()
    assert found.left_out == (
        "good: rule some lets some of it through",
        "rule keys: depends on data_class",
        "rule night: depends on time",
    )


def test_a_stricter_rule_before_takes_nothing_away() -> None:
    rules = (
        "{id: keys, match: {data_class: x}, verdict: block}",
        "{id: stop, match: {service: bad}, verdict: block}",
    )
    assert texts(plan(policy_of(*rules), ACME, ["block"]))[0][0] == "suffix bad.example"


def test_the_default_counts() -> None:
    found = plan(
        policy_of("{id: ok, match: {service: good}, verdict: allow}", head="default: block"), ACME, ["block"]
    )
    assert "exact one.example" in texts(found)[0]


def test_a_glob_that_holds_somebody_elses_name() -> None:
    both = catalogue(
        service("bad", hosts={"api": ["*-ai.shared.example"]}),
        service("good", hosts={"api": ["=eu-ai.shared.example"]}),
    )
    found = plan(policy_of("{id: stop, match: {service: bad}, verdict: block}"), both, ["block"])
    assert found.names == ()
    assert found.left_out == ("*-ai.shared.example (bad): eu-ai.shared.example is not concerned",)


def test_the_packaged_catalogue_never_gives_a_shared_parent() -> None:
    found = plan(policy_of("{id: all, verdict: block}"), packaged(), ["block"])
    names = {name.name for name in found.names if name.kind == "suffix"}
    assert not names & {"github.com", "google.com", "microsoft.com", "office.com", "notion.so", "slack.com"}
    assert {"chatgpt.com", "claude.ai"} <= names
    for name in found.names:
        match = packaged().match(name.name.replace("*", "x"))
        assert match is not None
    assert found == plan(policy_of("{id: all, verdict: block}"), packaged(), ["block"])
