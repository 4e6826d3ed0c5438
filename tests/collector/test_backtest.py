"""The same rules in Python and in SQL: random policies on random events, and a replay of an office's hour."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from collector.backtest import Backtest, SealedError
from collector.records import record_services
from collector.store import Store
from sensor.delivery.event import Connection, Event, Exchange, Finding
from sensor.knowledge import inventory
from sensor.knowledge.catalogue import Catalogue, load
from sensor.knowledge.identity import Identities
from sensor.knowledge.policy import Case, Decision, Policy, read
from sensor.knowledge.policy_judge import Judge
from sensor.knowledge.policy_model import PolicyFile
from sensor.knowledge.seal import Sealer
from sensor.monitor import Monitor
from sensor.packets.engine import facts
from sensor.packets.facts import Limits
from tests.collector.conftest import connection, exchange

OFFICE = Path(__file__).parents[2] / "deploy" / "demo" / "office.py"
SERVICES = ("chatgpt", "claude", "deepseek", "openai-api", "ollama", "mistral-api", "deepl", "kimi")
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia")
TEXTS = ("anna", "ben", "svc-a", "svc_b", "ä%b", "a\\b", "it's", "{x:String}", "*", "unknown", "~x")
NS = 1_000_000_000


@cache
def catalogue() -> Catalogue:
    return load()


def remember(store: Store, services: tuple[str, ...] = SERVICES) -> None:
    """The catalogue as `aiscope read` records it."""
    rows = [
        {
            "id": entry.service.id,
            "name": entry.service.name,
            "vendor": entry.vendor.vendor,
            "vendor_name": entry.vendor.name,
            "country": entry.vendor.country or "",
            "category": entry.service.category,
            "description": "",
            "score": catalogue().score(entry.service.id).score,
            "facts": {},
        }
        for entry in catalogue().services.values()
        if entry.service.id in services
    ]
    assert any(row["score"] is None for row in rows)
    assert any(row["score"] is not None for row in rows)
    record_services(store, "test", rows)


def of_catalogue(service: str) -> dict[str, str]:
    entry = catalogue().services.get(service)
    if entry is None:
        return {"service": service, "vendor": "", "category": ""}
    return {"service": service, "vendor": entry.vendor.vendor, "category": entry.service.category}


# Strategies

texts = st.sampled_from(TEXTS)
globs = st.one_of(texts, st.sampled_from(["svc*", "*-a", "*%*", "s*_b", "*\\*", "*"]))
several = st.lists(globs, min_size=1, max_size=3)
subnets = st.sampled_from(
    ["10.0.0.0/8", "10.0.0.64/26", "0.0.0.0/0", "2001:db8::/32", "::/0", "::ffff:10.0.0.0/104", "10.0.0.7"]
)
clocks = st.integers(0, 1439).map(lambda m: f"{m // 60:02}:{m % 60:02}")
spans = st.fixed_dictionaries(
    {"from": clocks, "until": clocks},
    optional={
        "days": st.lists(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1)
    },
).filter(lambda span: span["from"] != span["until"])
KEYS: dict[str, st.SearchStrategy[Any]] = {
    "service": st.lists(st.sampled_from([*SERVICES, "*gpt", "c*"]), min_size=1, max_size=4),
    "vendor": st.sampled_from(["openai", "open*", "unknown", "*"]),
    "category": st.sampled_from(["chat", "llm-api", "unknown"]),
    "review": st.lists(st.sampled_from(["approved", "rejected", "unknown"]), min_size=1, max_size=2),
    "score": st.builds(
        lambda a, b, unknown: {"min": min(a, b), "max": max(a, b), "unknown": unknown},
        st.integers(0, 100),
        st.integers(0, 100),
        st.booleans(),
    ),
    "country": st.lists(st.sampled_from(["US", "CN", "DE", "unknown"]), min_size=1, max_size=2),
    "server_country": st.sampled_from(["US", "IE", "unknown"]),
    "user": several,
    "group": several,
    "subnet": st.lists(subnets, min_size=1, max_size=2),
    "evidence": st.lists(st.sampled_from(["sni", "flow", "decrypted"]), min_size=1, max_size=2),
    "channel": st.sampled_from(["web", "api", "unknown"]),
    "operation": st.sampled_from(["chat", "upload", "unknown"]),
    "data_class": several,
    "account": several,
    "account_type": st.sampled_from(["corporate", "personal", "unknown"]),
    "volume": st.fixed_dictionaries(
        {
            "over": st.integers(0, 4000),
            "per": st.sampled_from(["minute", "hour", "day", "week"]),
            "of": st.sampled_from(["up", "down", "both"]),
        }
    ),
    "time": st.lists(spans, min_size=1, max_size=2),
}


@st.composite
def policies(draw: Any) -> PolicyFile:
    """Rules that combine keys, then one for each key alone."""
    values = draw(st.fixed_dictionaries(KEYS))
    combined = draw(st.lists(st.lists(st.sampled_from(list(KEYS)), max_size=3, unique=True), max_size=8))
    verdicts = st.sampled_from(["allow", "alert", "coach", "redact", "block"])
    return PolicyFile.model_validate(
        {
            "version": "1",
            "timezone": draw(st.sampled_from(ZONES)),
            "default": draw(st.sampled_from(["tolerate", "block"])),
            "reviews": draw(
                st.dictionaries(st.sampled_from(SERVICES), st.sampled_from(["approved", "rejected"]))
            ),
            "rules": [
                {"id": f"r{number}", "match": {key: values[key] for key in keys}, "verdict": draw(verdicts)}
                for number, keys in enumerate([*combined, *([key] for key in KEYS)])
            ],
        }
    )


# Around the change to winter time in Berlin, New Year, and others; close together: windows are shared.
MOMENTS = (1_761_440_000, 1_767_225_500, 1_767_225_590, 1_079_000_000, 1_700_000_000, 2_000_000_000)


def connections(random: Random) -> Iterator[Connection]:
    for number in range(1_500):
        time = (random.choice(MOMENTS) + random.choice((0, 59, 3_600, random.randrange(700_000)))) * NS
        time += random.choice((0, 0, random.randrange(200 * NS)))
        yield connection(
            flow_id=f"f{number}",
            start_time=time,
            time=time,
            end_time=time + random.choice((0, 1_999, random.randrange(60 * NS))),
            **of_catalogue(random.choice((*SERVICES, "", "not-in-the-catalogue"))),
            **person(random),
            server_country=random.choice(("", "US", "IE")),
            evidence=random.choice(("ip", "sni", "flow")),
            role=random.choice(("", "app", "api", "upload", "realtime", "cdn", "relay")),
            bytes_up=random.choice((0, 100, 999, 1000, 1001, 5000)),
            bytes_down=random.choice((0, 500, 2**40)),
        )


def exchanges(random: Random) -> Iterator[Exchange]:
    for number in range(500):
        yield exchange(
            id=f"x{number}",
            time=random.choice(MOMENTS) * NS + random.randrange(200_000 * NS),
            **of_catalogue(random.choice(SERVICES)),
            **person(random),
            evidence=random.choice(("inferred", "decrypted")),
            operation=random.choice(("", "chat", "upload")),
            data_classes=tuple(random.choices(TEXTS, k=random.randrange(3))),
            account=random.choice(("", *TEXTS)),
            account_type=random.choice(("corporate", "personal", "unknown", "")),
        )


def person(random: Random) -> dict[str, Any]:
    return {
        "user": random.choice(("", *TEXTS)),
        "groups": tuple(random.choices(TEXTS, k=random.randrange(3))),
        "client_ip": random.choice(
            ("10.0.0.7", "10.0.0.70", "192.168.1.1", "2001:db8::7", "fe80::1", "255.255.255.255")
        ),
        "channel": random.choice(("", "web", "api")),
    }


def made() -> list[Event]:
    """Rows with an id that is theirs alone, in the order in which they end."""
    random = Random(7)
    rows = [*connections(random), *exchanges(random)]
    return sorted(rows, key=lambda row: row.end_time if isinstance(row, Connection) else row.time)


def judged(policy: Policy, events: list[Event]) -> Iterator[Event]:
    judge = Judge(policy, catalogue(), Limits())
    yield from judge.judge(events)
    yield from judge.finish()


def of_python(events: Iterator[Event]) -> dict[str, tuple[str, str]]:
    return {
        event.id if isinstance(event, Exchange) else event.flow_id: (event.policy, event.verdict)
        for event in events
        if isinstance(event, Connection | Exchange) and event.policy
    }


class Filled:
    """A store and what is in it, without a representation: hypothesis would print it all."""

    def __init__(self, store: Store) -> None:
        remember(store)
        self.store, self.events = store, made()
        store.insert(self.events, sensor="a", batch=1, token="events")


@pytest.fixture
def filled(store: Store) -> Filled:
    return Filled(store)


class Asked(Policy):
    """A policy that remembers what it was asked."""

    cases: list[Case]

    def decide(self, case: Case) -> Decision:
        self.cases.append(case)
        return super().decide(case)


@settings(
    max_examples=15, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)  # a smaller policy would not say more, and each one takes a second
@given(policies())
def test_sql_and_python_agree(filled: Filled, drawn: PolicyFile) -> None:
    """On what every rule matches, also behind the first one that does, and on what is decided."""
    policy = Asked(drawn)
    policy.cases = []
    told = of_python(judged(policy, filled.events))
    tried = Backtest(filled.store, policy)
    matches = ", ".join(tried._rules._match(rule.match) for rule in drawn.rules)
    sql = f"SELECT *, [{matches}]::Array(Bool) AS matched FROM ({tried._judged}) AS judged"
    rows = {row["id"]: row for row in tried._ask(sql)}
    assert {id: (row["rule"], row["verdict"]) for id, row in rows.items()} == told
    for id, case in zip(told, policy.cases, strict=True):
        assert rows[id]["matched"] == [not failing for _, failing in policy.steps(case)], case


POLICY = """
version: "7"
timezone: Europe/Berlin
reviews: {chatgpt: approved, claude: approved}
rules:
  - {id: finance, match: {group: finance, country: CN}, verdict: block}
  - {id: big, match: {category: chat, volume: {over: 15kB, per: hour}}, verdict: coach}
  - {id: too-fast, match: {service: "claude-*", volume: {over: 30kB, per: minute, of: both}}, verdict: alert}
  - {id: evening, match: {user: "ben.*", time: {from: "09:30", until: "10:00"}}, verdict: alert}
  - {id: machines, match: {subnet: 10.20.0.40/29, channel: [api, unknown]}, verdict: allow}
  - {id: in-clear, match: {operation: [chat, tool_call], evidence: decrypted}, verdict: redact}
  - {id: approved, match: {review: approved}, verdict: allow}
"""


def policy_of(text: str) -> Policy:
    policy, _, problems = read(text.encode(), "policy.yaml")
    assert policy, problems
    return policy


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo's hour, with shorter answers and less of other traffic."""
    path = tmp_path_factory.mktemp("office") / "office.pcap"
    code = (
        "import office\nchat, visit = office.chat, office.Office.visit\n"
        "office.chat = lambda prompts, up, down: chat(prompts, up, down // 10)\n"
        "office.Office.visit = lambda self, at, host, name, *rest, **more: "
        "None if name in office.NOISE else visit(self, at, host, name, *rest, **more)\n"
        "office.main()"
    )
    command = [sys.executable, "-c", code, str(path), "--start", "1763800000"]
    subprocess.run(command, check=True, timeout=240, stdout=subprocess.DEVNULL, cwd=OFFICE.parent)
    return path, path.with_suffix(".csv")


def replay(office: tuple[Path, Path], policy: Policy, seal: Sealer | None = None) -> list[Event]:
    monitor = Monitor(
        catalogue(),
        identities=Identities(inventory.load(office[1])),
        judge=Judge(policy, catalogue(), Limits()),
        sealer=seal,
    )
    events = [
        event
        for batch in facts(office[0], catalogue().watch(), Limits(), "auto")
        for fact in batch
        for event in monitor.observe(fact)
    ]
    return events + monitor.finish()


def test_a_replay_says_live_what_the_store_says_later(store: Store, office: tuple[Path, Path]) -> None:
    policy = policy_of(POLICY)
    events = replay(office, policy)
    remember(store, tuple(catalogue().services))
    store.insert(events, sensor="a", batch=1, token="replay")
    rows = Backtest(store, policy).events()
    assert [(row["rule"], row["verdict"]) for row in rows] == [(row["told_by"], row["told"]) for row in rows]
    assert {row["rule"] for row in rows} == {rule.id for rule in policy.file.rules} | {"default"}
    judged_live = [e for e in events if isinstance(e, Connection | Exchange) and e.policy]
    assert len(rows) == len(judged_live)
    half = dt.datetime.fromtimestamp(1763800000 + 2000, dt.UTC)
    later = Backtest(store, policy, start=half).events()  # the hour's sums began before
    assert 0 < len(later) < len(rows)
    assert all((row["rule"], row["verdict"]) == (row["told_by"], row["told"]) for row in later)
    findings = [event for event in events if isinstance(event, Finding)]
    told = {
        (r["address"], r["service"], r["rule"])
        for r in rows
        if r["verdict"] in ("alert", "coach", "redact", "block")
    }
    assert sorted((f.client_ip, f.service, f.rule.removeprefix("policy:")) for f in findings) == sorted(told)
    for finding in findings:
        assert store.rows(finding.evidence_query)


def test_sealed_names_need_the_key(store: Store, office: tuple[Path, Path]) -> None:
    sealer = Sealer(bytes(range(64)))
    policy = policy_of(
        'version: "1"\nrules: [{id: anna, match: {user: [anna.berg, nobody]}, verdict: alert}]'
    )
    store.insert(replay(office, policy, sealer), sensor="a", batch=1, token="sealed")
    blind, seeing = Backtest(store, policy), Backtest(store, policy, seal=sealer.seal)
    assert blind.sealed()
    assert {row["rule"] for row in blind.events()} == {"default"}
    assert not seeing.sealed()
    assert all(row["rule"] == row["told_by"] for row in seeing.events())
    assert {row["rule"] for row in seeing.events()} == {"anna", "default"}
    parts = policy_of('version: "1"\nrules: [{id: a, match: {user: "anna*"}, verdict: alert}]')
    with pytest.raises(SealedError, match=r"match.user: 'anna\*'"):
        Backtest(store, parts, seal=sealer.seal)


def test_a_report_counts_names_and_compares(store: Store) -> None:
    rows = [
        connection(flow_id=f"f{n}", user=user, service="chatgpt", category="chat", bytes_up=100, bytes_down=n)
        for n, user in enumerate(["anna", "anna", "ben", ""])
    ]
    store.insert([*rows, exchange(user="ben", bytes_up=70)], sensor="a", batch=1, token="report")
    new = policy_of('version: "2"\nrules: [{id: stop, match: {user: [anna, ben]}, verdict: block}]')
    old = policy_of('version: "1"\nrules: [{id: warn, match: {user: anna}, verdict: alert}]')
    report = Backtest(store, new, old).report()
    assert [(r["rule"], r["verdict"], r["events"], r["clients"], r["bytes_up"]) for r in report.rules] == [
        ("stop", "block", 4, 2, 300),
        ("default", "tolerate", 1, 1, 100),
    ]
    assert [(r["client"], r["service"], r["events"], r["bytes_up"]) for r in report.who] == [
        ("anna", "chatgpt", 2, 200),
        ("ben", "chatgpt", 1, 100),
        ("ben", "ollama", 1, 0),
    ]
    assert report.changes is not None
    assert [(r["client"], r["old_rule"], r["rule"], r["events"]) for r in report.changes] == [
        ("anna", "warn", "stop", 2),
        ("ben", "default", "stop", 1),
        ("ben", "default", "stop", 1),
    ]
    assert Backtest(store, new).report().changes is None
    assert Backtest(store, new, new).report().changes == []


def test_an_empty_policy_and_an_empty_store(store: Store) -> None:
    policy = policy_of('version: "1"\ndefault: alert\nrules: []')
    assert Backtest(store, policy).report().rules == []
    store.insert([connection()], sensor="a", batch=1, token="one")
    assert [(r["rule"], r["verdict"]) for r in Backtest(store, policy).events()] == [("default", "alert")]
