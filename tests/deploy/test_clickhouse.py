from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from collector.access import rights
from tests.collector.conftest import RETENTION

FOLDER = Path(__file__).parents[2] / "deploy" / "clickhouse"
USERS = (FOLDER / "users.sql").read_text("utf-8")
PLAIN = re.sub(r"^--.*$", "", USERS, flags=re.MULTILINE)
STATEMENTS = [text.strip() for text in re.split(r";\s*$", PLAIN, flags=re.MULTILINE) if text.strip()]

# Opens the engine with a configuration in a main file and `config.d/`, as a server does: what it understood.
ENGINE = """
import json, sys
import chdb
engine = chdb.connect(sys.argv[1] + "?config-file=" + sys.argv[2])
rows = lambda text: [json.loads(line) for line in str(engine.query(text, "JSONEachRow")).splitlines()]
print(json.dumps({
    "clusters": rows("SELECT cluster, shard_num, replica_num, host_name, port FROM system.clusters"),
    "macros": {row["macro"]: row["substitution"] for row in rows("SELECT * FROM system.macros")},
    "disks": [row["name"] for row in rows("SELECT name FROM system.disks")],
    "settings": {row["name"]: row["value"] for row in rows(
        "SELECT name, value FROM system.server_settings WHERE name LIKE 'default_replica_%'")},
}))
"""
MAIN = """<clickhouse><http_port>8123</http_port><tcp_port>9000</tcp_port>
<interserver_http_port>9009</interserver_http_port><mysql_port>9004</mysql_port><postgresql_port>9005</postgresql_port>
</clickhouse>"""
USERS_XML = """<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default><password/>
<networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></default></users></clickhouse>"""


def understood(folder: Path, name: str) -> dict:
    text = re.sub(
        r"<path>/var/lib/[\w/-]*backups/</path>",
        f"<path>{folder}/backups/</path>",
        (FOLDER / name).read_text(),
    )
    (folder / "config.d").mkdir()
    (folder / "backups").mkdir()
    (folder / "config.xml").write_text(MAIN)
    (folder / "users.xml").write_text(USERS_XML)
    (folder / "config.d/aiscope.xml").write_text(text)
    environment = {"SHARD": "2", "REPLICA": "ch-2-1", "CLUSTER_SECRET": "x"}
    done = subprocess.run(
        [sys.executable, "-c", ENGINE, folder / "store", folder / "config.xml"],
        capture_output=True, text=True, cwd=folder, env=environment, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.xml")))
def test_xml_is_well_formed(name: str):
    assert ElementTree.parse(FOLDER / name).getroot().tag == "clickhouse"


def test_the_engine_sees_two_shards_of_two_replicas(tmp_path: Path):
    found = understood(tmp_path, "cluster.xml")
    hosts = [(row["shard_num"], row["replica_num"], row["host_name"]) for row in found["clusters"]]
    assert sorted(hosts) == [(1, 1, "ch-1-1"), (1, 2, "ch-1-2"), (2, 1, "ch-2-1"), (2, 2, "ch-2-2")]
    assert {row["port"] for row in found["clusters"]} == {9440}
    assert found["macros"] == {"cluster": "aiscope", "shard": "2", "replica": "ch-2-1"}
    assert "backups" in found["disks"]
    assert found["settings"]["default_replica_name"] == "{replica}"


def test_the_engine_understands_a_single_server(tmp_path: Path):
    assert "backups" in understood(tmp_path, "server.xml")["disks"]


def test_keepers_are_those_that_servers_ask():
    servers, keepers = (ElementTree.parse(FOLDER / name) for name in ("cluster.xml", "keeper.xml"))
    asked = [(node.findtext("host"), node.findtext("port")) for node in servers.iterfind("zookeeper/node")]
    raft = [node.findtext("hostname") for node in keepers.iterfind("keeper_server/raft_configuration/server")]
    assert asked == [(host, keepers.findtext("keeper_server/tcp_port_secure")) for host in raft]
    assert len(raft) == 3  # one may be away


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    code = """
import json, sys
from collector.store import open_store
with open_store("chdb://" + sys.argv[1], retention=json.loads(sys.argv[2])) as store:
    for text in json.loads(sys.argv[3]):
        store.rows("SELECT formatQuerySingleLine({q:String}) AS q", {"q": text})
    print(json.dumps(store.rows("SELECT name FROM system.tables WHERE database = 'aiscope'")))
"""
    arguments = [tmp_path_factory.mktemp("schema"), json.dumps(RETENTION), json.dumps(STATEMENTS)]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return frozenset(row["name"] for row in json.loads(done.stdout))


def test_the_engines_parser_takes_every_statement(store: frozenset[str]):
    assert len(STATEMENTS) > 40


def granted(role: str, access: str) -> set[str]:
    """Tables of a role, those of the roles it includes as well."""
    tables = set()
    for statement in STATEMENTS:
        if inherited := re.fullmatch(rf"GRANT (aiscope_\w+) TO {role}", statement):
            tables |= granted(inherited[1], access)
        elif match := re.fullmatch(rf"GRANT (.* ON .*) TO {role}", statement, re.DOTALL):
            tables |= {
                table
                for kinds, table in re.findall(r"([A-Z, ]+) ON aiscope\.(\w+)", match[1])
                if access in kinds
            }
    return tables


def included(role: str) -> set[str]:
    """A role and those that it includes."""
    texts = (re.fullmatch(rf"GRANT (aiscope_\w+) TO {role}", text) for text in STATEMENTS)
    return {role}.union(*(included(match[1]) for match in texts if match))


def test_who_may_insert_is_not_held_to_reading():
    """A profile is of all who include one of its roles, but for its exceptions; of each role there is one."""
    for name in ("sensor", "reader", "analyst", "investigator", "admin"):
        role, found = f"aiscope_{name}", []
        for text in STATEMENTS:
            if match := re.search(
                r"SETTINGS PROFILE .*\bTO ([\w, ]+?)(?: EXCEPT ([\w, ]+))?$", text, re.DOTALL
            ):
                of, but = (set((part or "").split(", ")) for part in match.groups())
                found += [text] if included(role) & of and not included(role) & but else []
        assert len(found) == 1, role
        assert ("readonly" in found[0]) != bool(granted(role, "INSERT")), role


@pytest.mark.parametrize("role", ["sensor", "reader", "analyst", "investigator", "admin"])
def test_roles_are_those_of_the_embedded_store(store: frozenset[str], role: str):
    """`usage` reads as its caller, so that it would give a reader the rows themselves."""
    wanted = rights(role, store)
    reads = {table for database, table in wanted.reads if database == "aiscope"}
    read = {name for name in granted(f"aiscope_{role}", "SELECT") if not name.endswith("_local")}
    if role == "reader":
        reads.discard("usage")
    reads = {name for name in reads if not name.endswith("_view")}
    assert read == reads
    inserts = {name for name in granted(f"aiscope_{role}", "INSERT") if not name.endswith("_local")}
    assert (
        inserts - {"audit"} == wanted.inserts
    )  # `aiscope store forget` notes itself, where no collector does


def test_shards_grant_and_restrict_what_the_tables_do(store: frozenset[str]):
    for statement in STATEMENTS:
        names = set(re.findall(r"aiscope\.(\w+)", statement)) - {"usage"}
        local = {name for name in names if name.endswith("_local")}
        assert {f"{name}_local" for name in names - local} == local, statement


def test_rows_are_restricted_wherever_a_sensor_is_named(store: frozenset[str]):
    (policy,) = [text for text in STATEMENTS if "ROW POLICY" in text]
    named = {"connections", "lookups", "exchanges", "findings", "identities", "sealed", "sensor_stats"}
    named |= {"usage_hourly", "usage_daily", "lookups_hourly", "exchanges_hourly"}
    assert named == {name for name in re.findall(r"aiscope\.(\w+)", policy) if not name.endswith("_local")}
    assert named <= store
