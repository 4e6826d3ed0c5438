"""What may run, with a real process: the statements of clients and people. What may not is in test_attacks.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collector.errors import Refused
from collector.gate import _tree

from .served import Served, start, with_users


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("gate")
    tokens = with_users(folder)
    running = start(folder)
    running.tokens = tokens
    yield running
    assert running.stop() == 0


PEOPLE = [
    "SELECT service, uniq(client), sum(bytes_up) FROM usage GROUP BY service ORDER BY 3 DESC LIMIT 10",
    "SELECT * FROM usage WHERE time > now() - INTERVAL 1 DAY AND service IN ('a', 'b') LIMIT 5",
    "WITH top AS (SELECT service FROM usage) SELECT * FROM usage_hourly WHERE service IN (SELECT * FROM top)",
    "WITH top AS (SELECT service FROM usage) SELECT count() FROM top",
    "WITH ['a'] AS names SELECT 'a' IN names",
    "SELECT u.service, s.name FROM usage AS u LEFT JOIN services AS s ON s.id = u.service",
    "SELECT day, uniqMerge(clients), quantilesTDigestMerge(0.5, 0.9)(slice_up) FROM usage_daily GROUP BY day",
    "SELECT countIf(first), sumOrNull(bytes_up), argMaxIf(service, time, first) FROM usage",
    "SELECT arrayMap(x -> x + 1, [1, 2]), arrayReduce('sum', [1, 2]), map('a', 1)['a'], (1, 'x').2, 5 DIV 2",
    "SELECT CASE WHEN 1 THEN 'a' WHEN 2 THEN 'b' ELSE 'c' END, CASE 1 WHEN 1 THEN 2 END, if(1, 2, 3), 1 ? 2 : 3",
    "SELECT sum(bytes_up) OVER (PARTITION BY service ORDER BY time ROWS 1 PRECEDING) FROM usage",
    "SELECT user, count() FROM usage GROUP BY user WITH ROLLUP HAVING count() > 0 ORDER BY user",
    "SELECT number FROM numbers(10) WHERE number % 2 = 0 UNION ALL SELECT 1",
    "SELECT toStartOfInterval(time, INTERVAL 5 minute) AS t FROM usage ORDER BY t WITH FILL STEP 300",
    "SELECT 'a; b', '-- c', '/* d */', 'INTO OUTFILE', 'FORMAT x'",
    "SELECT 1 -- a comment\n + /* another */ 1;",
    "SELECT toTypeName(1), CAST('1' AS UInt8), '2024-01-01'::Date, DATE '2024-01-01', EXTRACT(year FROM now())",
    "SELECT COUNT(*), Count(DISTINCT service), MAX(time), SubString('abc', 2) FROM usage",
    "SELECT exists(SELECT 1), (SELECT max(time) FROM usage), 1 BETWEEN 0 AND 2, NULL IS NULL, 'a' LIKE 'a%'",
    "SELECT `service` FROM `aiscope`.`usage` FINAL LIMIT 1 OFFSET 1 SETTINGS max_threads = 1",
    "SELECT name FROM usage ARRAY JOIN groups AS name LIMIT 1 BY name",
    "SELECT 1 EXCEPT SELECT 2",
    "SELECT replaceOne(toString(client_ip), '::ffff:', '') FROM usage",
]
CLIENTS = [
    "SELECT version(), timezone()",
    "SELECT displayName(), version(), revision(), timezone()",  # clickhouse-go, with it Grafana
    "SELECT name FROM system.databases",
    "SELECT name, database, table FROM system.columns WHERE database = 'aiscope' AND table = 'usage'",
    "SELECT name, type, comment FROM system.columns WHERE database = {d:String}",
    "SELECT name, engine FROM system.tables WHERE database = 'aiscope' AND engine NOT LIKE 'System%'",
    "SELECT name FROM system.functions",
    "SELECT name, value, readonly AS readonly FROM system.settings LIMIT 10000",
    "SELECT DISTINCT `service` AS `service` FROM `aiscope`.`usage` LIMIT 50000",  # Superset
    "SELECT count(*) AS `count` FROM (SELECT * FROM usage) AS `virtual_table` WHERE `service` = 'x' LIMIT 1000",
    "SELECT toStartOfInterval(toDateTime(time), INTERVAL 60 second) AS time_, sum(bytes_up) FROM usage "
    "WHERE time >= toDateTime(1700000000) AND time <= toDateTime(1700003600) GROUP BY time_ ORDER BY time_",
    "SELECT 1 FORMAT JSONEachRow",
    "SELECT 1 FORMAT JSON SETTINGS output_format_json_quote_64bit_integers = 0",
    "SELECT 1 SETTINGS max_threads = 1 FORMAT Null SETTINGS max_block_size = 10",
    "SHOW DATABASES",
    "SHOW TABLES FROM `aiscope`",
    "SHOW CREATE TABLE aiscope.usage_hourly",
    "DESCRIBE TABLE `usage`",
    "DESC aiscope.usage",
    "EXISTS TABLE aiscope.usage",
    "EXPLAIN PLAN SELECT 1",
]


@pytest.mark.parametrize("sql", PEOPLE + CLIENTS)
def test_what_people_and_clients_ask(served: Served, sql: str):
    reply = served.request("ann", sql, param_d="aiscope")
    assert reply.status == 200, reply.text


def test_settings_on_either_side_of_the_format(served: Served):
    sql = "SELECT toUInt64(number) AS n FROM numbers(9) SETTINGS limit = 1 FORMAT JSONEachRow SETTINGS "
    assert served.request("ann", sql + "output_format_json_quote_64bit_integers = 1").body == b'{"n":"0"}\n'
    assert served.request("ann", "SELECT 1 FORMAT Values").body == b"(1)"
    assert served.request("ann", sql + "max_memory_usage_for_user = 1").code == 452


def test_the_same_text_is_judged_for_each_user(served: Served):
    """The verdict is kept; it is a role's, not the text's."""
    for _ in range(2):
        assert served.request("ivy", "SELECT count() FROM sealed").body == b"0\n"
        assert served.request("ann", "SELECT count() FROM sealed").code == 497
        for table, code in (("usage", 0), ("sealed", 497)):
            assert served.request("ann", "SELECT count() FROM {t:Identifier}", param_t=table).code == code


@pytest.mark.parametrize("text", ["  Function f (children 1)", "SelectQuery\n   Literal 1", "Select1 x"])
def test_a_tree_that_is_none(text: str):
    with pytest.raises(Refused):
        _tree(text)


def test_nodes_know_their_place():
    nodes = _tree(
        "Function in (children 1)\n ExpressionList (children 2)\n  Identifier a (alias b)\n  Identifier c.d\n"
    )
    assert [(node.kind, node.head, node.position) for node in nodes] == [
        ("Function", "in", 0), ("ExpressionList", "", 0), ("Identifier", "a", 0), ("Identifier", "c.d", 1),
    ]  # fmt: skip
