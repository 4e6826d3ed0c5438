from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import pytest

from collector import users
from collector.access import Access, Failures, rights
from collector.errors import Refused
from collector.request import Login
from collector.users import UsersError

TABLES = frozenset(
    {
        "connections",
        "lookups",
        "exchanges",
        "sealed",
        "identities",
        "usage",
        "usage_hourly",
        "reviews",
        "audit",
    }
)


class Clock:
    """Goes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users.json"


def test_roles():
    seen = {
        role: {name for database, name in rights(role, TABLES).reads if database == "aiscope"}
        for role in users.ROLES
    }
    assert seen["sensor"] == set()
    assert seen["reader"] == {"usage", "usage_hourly"}
    assert seen["analyst"] == TABLES - {"sealed", "identities"}
    assert seen["investigator"] == TABLES
    assert rights("sensor", TABLES).inserts == {"connections", "lookups", "exchanges", "sealed", "identities"}
    assert "reviews" in rights("admin", TABLES).inserts
    assert not rights("investigator", TABLES).inserts
    assert all("audit" not in rights(role, TABLES).inserts for role in users.ROLES)


def test_a_token_is_shown_once_and_kept_as_a_hash(path: Path):
    token = users.add(path, "tap", "sensor")
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    access = Access(path)
    for name in ("tap", ""):
        user = access.quick(Login(name, token))
        assert user
        assert user.sensor == "tap"
    assert access.quick(Login("other", token)) is None
    assert access.quick(Login("tap", token[:-1] + "x")) is None


def test_a_password_is_stretched_once_a_minute(path: Path):
    users.add(path, "ann", "analyst", password="correct horse battery")
    clock = Clock()
    access = Access(path, clock)
    login = Login("ann", "correct horse battery")
    assert access.quick(login) is None
    assert access.slow(login)
    assert access.quick(login)
    assert access.quick(Login("ann", "wrong horse battery!")) is None
    clock.now += 61
    assert access.quick(login) is None


def test_a_login_takes_as_long_for_nobody_as_for_somebody(path: Path):
    users.add(path, "ann", "analyst", password="correct horse battery")
    access = Access(path)

    def seconds(name: str) -> float:
        begun = time.perf_counter()
        assert access.slow(Login(name, "wrong horse battery!")) is None
        return time.perf_counter() - begun

    times = [(seconds("ann"), seconds("nobody")) for _ in range(9)]
    known, unknown = (statistics.median(column) for column in zip(*times, strict=True))
    assert 0.5 < known / unknown < 2


def test_rotation_overlaps_and_ends(path: Path, monkeypatch: pytest.MonkeyPatch):
    old = users.add(path, "tap", "sensor")
    new = users.rotate(path, "tap", overlap=100)
    access = Access(path)
    assert access.quick(Login("tap", old))
    assert access.quick(Login("tap", new))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 101)
    assert access.quick(Login("tap", old)) is None
    assert access.quick(Login("tap", new))


def test_the_journal_says_who_did_what(path: Path):
    users.add(path, "ann", "reader")
    users.change(path, "ann", role="analyst")
    users.rotate(path, "ann", overlap=0)
    users.remove(path, "ann")
    changes = users.load(path).changes
    assert [change.action for change in changes] == ["user.add", "user.change", "user.rotate", "user.remove"]
    assert len({change.id for change in changes}) == 4


@pytest.mark.parametrize(
    ("name", "role", "password"),
    [("a b", "reader", ""), ("", "reader", ""), ("../x", "reader", ""), ("a", "reader", "short")],
)
def test_users_that_are_not_made(path: Path, name: str, role: str, password: str):
    with pytest.raises(UsersError):
        users.add(path, name, role, password)


def test_a_broken_file_changes_nothing(path: Path):
    token = users.add(path, "ann", "reader")
    clock = Clock()
    access = Access(path, clock)
    for text in ("{", "[]", json.dumps({"users": {"ann": {"role": "king", "secrets": []}}, "changes": []})):
        clock.now += 2
        path.write_text(text)
        assert access.quick(Login("ann", token))
        assert str(path) in access.problem


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0, "5", None])
def test_a_rate_is_a_number_with_bounds(path: Path, value: object):
    """nan is no less than anything, so that a user of this rate had none."""
    users.add(path, "ann", "analyst")
    kept = path.read_bytes()
    with pytest.raises(UsersError, match=r"^users\.ann\.per_second: a number above 0"):
        users.change(path, "ann", per_second=value)
    assert path.read_bytes() == kept
    data = json.loads(kept)
    data["users"]["ann"]["per_second"] = value
    path.write_text(json.dumps(data))
    with pytest.raises(UsersError, match=r"users\.json: users\.ann\.per_second: a number above 0"):
        users.load(path)


def test_a_user_has_a_rate_and_a_number_at_once(path: Path):
    users.add(path, "ann", "reader")
    users.change(path, "ann", per_second=2.0, at_once=2)
    clock = Clock()
    access = Access(path, clock)
    user = access.users.users["ann"]
    with access.slot(user), access.slot(user), pytest.raises(Refused) as refused, access.slot(user):
        pass
    assert refused.value.code == 202
    codes = []
    for _ in range(9):
        try:
            with access.slot(user):
                codes.append(0)
        except Refused as error:
            codes.append(error.code)
    assert codes[0] == 0
    assert codes[-1] == 201
    clock.now += 1
    with access.slot(user):
        pass


def test_failures_slow_an_address_and_are_forgotten():
    clock = Clock()
    failures = Failures(clock)
    delays = [failures.add("192.0.2.1") for _ in range(10)]
    assert delays == sorted(delays)
    assert delays[-1] == 5
    assert failures.add("192.0.2.2") == delays[0]
    assert failures.add("2001:db8::1") < failures.add("2001:db8::2")  # one host's network
    clock.now += 1000
    assert failures.add("192.0.2.1") == delays[0]
    for number in range(10_000):
        failures.add(f"10.0.{number >> 8}.{number & 255}")
    assert len(failures._seen) <= 4096
