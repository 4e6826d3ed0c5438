"""Statements that must not run, each with the user who tries and what they would gain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SECRET = "c4nary-of-a-file-outside"  # in {file}, which no layer may let anyone read
SEALED = "c4nary-of-a-sealed-prompt"  # in aiscope.sealed and aiscope.identities


@dataclass(frozen=True)
class Attack:
    """`{file}` is a file outside the store, `{out}` one that must not come to be, `{dir}` the folder of both.

    `gain`: what shows that it worked. "secret", "sealed": the answer has it; "out": the file is there;
    "run": it ended without an error.
    """

    name: str
    sql: str
    gain: str = "secret"
    user: str = "ann"
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    database: str = ""


READ_FILES = [
    Attack("scalar file", "SELECT file('{file}')"),
    Attack("scalar file, upper case", "SELECT FILE('{file}')"),
    Attack("scalar file with default", "SELECT file('{file}', 'none')"),
    Attack("quoted name", "SELECT `file`('{file}')"),
    Attack("double-quoted name", "SELECT \"file\"('{file}')"),
    Attack("comment inside", "SELECT file/**/('{file}')"),
    Attack("line comment inside", "SELECT file -- x\n ('{file}')"),
    Attack("hash comment", "SELECT file # x\n ('{file}')"),
    Attack("nested comment", "SELECT /* /* */ */ file('{file}')"),
    Attack("escaped literal", "SELECT file('\\x2f' || substring('{file}', 2))"),
    Attack("heredoc literal", "SELECT file($a${file}$a$)"),
    Attack("in a lambda", "SELECT arrayMap(x -> file(x), ['{file}'])"),
    Attack("as a function's name", "SELECT arrayMap(file, ['{file}'])"),
    Attack("as a quoted function's name", "SELECT arrayMap(`file`, ['{file}'])"),
    Attack("in a filter", "SELECT 1 WHERE file('{file}') LIKE '%c4nary%'", "run"),
    Attack("in PREWHERE", "SELECT service FROM usage_hourly PREWHERE file('{file}') != ''", "run"),
    Attack(
        "in HAVING", "SELECT count() FROM usage_hourly GROUP BY service HAVING file('{file}') != ''", "run"
    ),
    Attack("in QUALIFY", "SELECT service FROM usage_hourly QUALIFY file('{file}') != ''", "run"),
    Attack("in ORDER BY", "SELECT 1 ORDER BY file('{file}')", "run"),
    Attack("in LIMIT", "SELECT 1 LIMIT length(file('{file}'))", "run"),
    Attack("in LIMIT BY", "SELECT 1 LIMIT 1 BY file('{file}')", "run"),
    Attack("in WITH", "WITH file('{file}') AS x SELECT x"),
    Attack("in a subquery", "SELECT (SELECT file('{file}'))"),
    Attack("in IN", "SELECT 1 IN (SELECT length(file('{file}')))", "run"),
    Attack(
        "in a join's condition",
        "SELECT 1 FROM system.one AS a JOIN system.one AS b ON file('{file}') != ''",
        "run",
    ),
    Attack("in ARRAY JOIN", "SELECT x FROM system.one ARRAY JOIN [file('{file}')] AS x"),
    Attack("in a window", "SELECT sum(1) OVER (PARTITION BY file('{file}')) FROM system.one", "run"),
    Attack(
        "in a named window",
        "SELECT sum(1) OVER w FROM system.one WINDOW w AS (ORDER BY file('{file}'))",
        "run",
    ),
    Attack("in WITH FILL", "SELECT 1 AS a ORDER BY a WITH FILL TO length(file('{file}'))", "run"),
    Attack(
        "in INTERPOLATE", "SELECT 1 AS a, '' AS b ORDER BY a WITH FILL TO 3 INTERPOLATE (b AS file('{file}'))"
    ),
    Attack("in a parameter of an aggregate", "SELECT quantile(length(file('{file}')))(1)", "run"),
    Attack("COLUMNS APPLY", "SELECT COLUMNS('p') APPLY file FROM (SELECT '{file}' AS p)"),
    Attack("star APPLY", "SELECT * APPLY file FROM (SELECT '{file}' AS p)"),
    Attack("star APPLY lambda", "SELECT * APPLY (x -> file(x)) FROM (SELECT '{file}' AS p)"),
    Attack("star REPLACE", "SELECT * REPLACE (file(p) AS p) FROM (SELECT '{file}' AS p)"),
    Attack("EXPLAIN folds it", "EXPLAIN SELECT file('{file}')"),
    Attack("EXPLAIN actions", "EXPLAIN actions = 1 SELECT file('{file}')"),
    Attack("EXPLAIN SYNTAX", "EXPLAIN SYNTAX SELECT file('{file}')", "run"),
    Attack("EXPLAIN AST with a second statement", "EXPLAIN AST SELECT 1; SELECT file('{file}')"),
    Attack("SHOW TABLES WHERE", "SHOW TABLES WHERE file('{file}') != ''", "run"),
    Attack("SHOW DATABASES ILIKE then WHERE", "SHOW DATABASES WHERE file('{file}') != ''", "run"),
    Attack("SHOW COLUMNS WHERE", "SHOW COLUMNS FROM usage WHERE file('{file}') != ''", "run"),
    Attack("SHOW SETTINGS", "SHOW SETTINGS LIKE '%' || file('{file}')", "run"),
    Attack("DESCRIBE file()", "DESCRIBE TABLE file('{file}')", "run"),
    Attack("DESCRIBE a subquery", "DESCRIBE (SELECT file('{file}'))", "run"),
    Attack("two statements", "SELECT 1; SELECT file('{file}')"),
    Attack("two statements after a comment", "SELECT 1 /* ; */; SELECT file('{file}') --"),
    Attack("table function file", "SELECT * FROM file('{file}', 'LineAsString')"),
    Attack("table function with a quoted name", "SELECT * FROM `file`('{file}', LineAsString)"),
    Attack("table function in IN", "SELECT 'x' IN (SELECT * FROM file('{file}', 'LineAsString'))", "run"),
    Attack("table function in a view", "SELECT * FROM view(SELECT file('{file}'))"),
    Attack("viewExplain", "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT file('{file}')))"),
    Attack("fileCluster", "SELECT * FROM fileCluster('default', '{file}', 'LineAsString')"),
    Attack("format with a schema", "SELECT * FROM format(LineAsString, file('{file}'))"),
    Attack("path in a parameter", "SELECT file({path:String})", parameters={"path": "{file}"}),
    Attack("table in a parameter", "SELECT * FROM {t:Identifier}('{file}')", parameters={"t": "file"}),
    Attack(
        "statement in a parameter",
        "SELECT {x:String}",
        "run",
        parameters={"x": "a'; SELECT file('{file}')\t"},
    ),
    Attack("/proc/self/environ", "SELECT file('/proc/self/environ')", "run"),
    Attack("path traversal", "SELECT file('../../../../../../../../{file}')"),
    Attack("the users file", "SELECT file('{users}')", "run"),
    Attack("the configuration", "SELECT file('aiscope-users.xml')", "run"),
    Attack("catboostEvaluate", "SELECT catboostEvaluate('{file}', 1)", "run"),
    Attack("executable()", "SELECT * FROM executable('cat', 'LineAsString', 'x String')", "run"),
    Attack("python()", "SELECT * FROM python(sys)", "run"),
    Attack("addressToLine", "SELECT addressToLine(1)", "run"),
    Attack("joinGet", "SELECT joinGet('aiscope.sealed', 'ciphertext', 1)", "run"),
    Attack("dictGet", "SELECT dictGet('{file}', 'a', 1)", "run"),
    Attack(
        "a newline in a name forges a line of the tree", "SELECT 1 AS `x\n    Literal 'y'`, file('{file}')"
    ),
    Attack("SETTINGS in the statement", "SELECT file('{file}') SETTINGS allow_introspection_functions = 1"),
]

WRITES = [
    Attack("INTO OUTFILE", "SELECT 1 INTO OUTFILE '{out}'", "out"),
    Attack("INTO OUTFILE with a format", "SELECT 1 INTO OUTFILE '{out}' TRUNCATE FORMAT CSV", "out"),
    Attack(
        "INTO OUTFILE in a subquery's union", "(SELECT 1) UNION ALL (SELECT 2) INTO OUTFILE '{out}'", "out"
    ),
    Attack("INTO OUTFILE after a comment", "SELECT 1 INTO/**/OUTFILE '{out}'", "out"),
    Attack("EXPLAIN INTO OUTFILE", "EXPLAIN SELECT 1 INTO OUTFILE '{out}'", "out"),
    Attack(
        "INSERT INTO FUNCTION file", "INSERT INTO FUNCTION file('{out}', 'CSV', 'a UInt8') SELECT 1", "out"
    ),
    Attack("INSERT INTO TABLE FUNCTION", "INSERT INTO TABLE FUNCTION file('{out}') FORMAT CSV\n1", "out"),
    Attack(
        "INSERT VALUES with file()",
        "INSERT INTO lookups (question) VALUES (file('{file}'))",
        "run",
        user="tap-1",
    ),
    Attack("INSERT SELECT", "INSERT INTO lookups (question) SELECT file('{file}')", "run", user="tap-1"),
    Attack(
        "INSERT FROM INFILE",
        "INSERT INTO lookups (question) FROM INFILE '{file}' FORMAT CSV",
        "run",
        user="tap-1",
    ),
    Attack("INSERT by a reader", "INSERT INTO lookups (question) FORMAT TSV\nx", "run", user="rita"),
    Attack("INSERT by an analyst", "INSERT INTO lookups (question) FORMAT TSV\nx", "run"),
    Attack("INSERT into the audit", "INSERT INTO audit (actor) FORMAT TSV\nx", "run", user="adam"),
    Attack("INSERT into migrations", "INSERT INTO migrations (number) FORMAT TSV\n99", "run", user="adam"),
    Attack("INSERT into a rollup", "INSERT INTO usage_hourly (service) FORMAT TSV\nx", "run", user="tap-1"),
    Attack("INSERT reviews by a sensor", "INSERT INTO reviews (service) FORMAT TSV\nx", "run", user="tap-1"),
    Attack("INSERT into another database", "INSERT INTO default.t (a) FORMAT TSV\n1", "run", user="adam"),
    Attack(
        "INSERT with a template format",
        "INSERT INTO lookups (question) FORMAT Template\nx",
        "run",
        user="tap-1",
    ),
    Attack("CREATE TABLE", "CREATE TABLE aiscope.x (a UInt8) ENGINE = Memory", "run", user="adam"),
    Attack("CREATE FUNCTION", "CREATE FUNCTION f AS x -> file(x)", "run", user="adam"),
    Attack(
        "CREATE DICTIONARY",
        "CREATE DICTIONARY d (a UInt64) PRIMARY KEY a SOURCE(FILE(path '{file}' format 'CSV')) "
        "LAYOUT(FLAT()) LIFETIME(0)",
        "run",
        user="adam",
    ),
    Attack("CREATE USER", "CREATE USER u IDENTIFIED BY 'x'", "run", user="adam"),
    Attack("GRANT", "GRANT ALL ON *.* TO default", "run", user="adam"),
    Attack("DROP TABLE", "DROP TABLE aiscope.inputs", "run", user="adam"),
    Attack("TRUNCATE", "TRUNCATE TABLE aiscope.audit", "run", user="adam"),
    Attack("ALTER DELETE", "ALTER TABLE aiscope.audit DELETE WHERE 1", "run", user="adam"),
    Attack("DELETE", "DELETE FROM aiscope.audit WHERE 1", "run", user="adam"),
    Attack("UPDATE", "ALTER TABLE aiscope.lookups UPDATE user = 'x' WHERE 1", "run", user="adam"),
    Attack("BACKUP", "BACKUP TABLE aiscope.sealed TO File('{out}')", "out", user="ivy"),
    Attack("ATTACH", "ATTACH DATABASE d ENGINE = Filesystem('/')", "run", user="adam"),
    Attack("EXCHANGE", "EXCHANGE TABLES aiscope.lookups AND aiscope.sealed", "run", user="adam"),
    Attack("KILL QUERY", "KILL QUERY WHERE 1", "run"),
    Attack("SYSTEM", "SYSTEM DROP MARK CACHE", "run", user="adam"),
    Attack("SYSTEM SHUTDOWN", "SYSTEM SHUTDOWN", "run", user="adam"),
    Attack("SET", "SET max_memory_usage = 0", "run"),
    Attack("USE", "USE system", "run"),
    Attack("BEGIN", "BEGIN TRANSACTION", "run"),
]

LOOKS = [
    Attack("sealed by an analyst", "SELECT * FROM sealed", "sealed"),
    Attack("sealed, qualified", "SELECT * FROM aiscope.sealed", "sealed"),
    Attack("sealed, quoted", "SELECT * FROM `aiscope`.`sealed`", "sealed"),
    Attack("sealed in a subquery", "SELECT (SELECT any(ciphertext) FROM sealed)", "sealed"),
    Attack("sealed behind a join", "SELECT s.ciphertext FROM system.one AS o, sealed AS s", "sealed"),
    Attack("sealed in a union", "SELECT '' UNION ALL SELECT ciphertext FROM sealed", "sealed"),
    Attack("sealed in IN", "SELECT 'x' IN sealed", "run"),
    Attack("sealed in IN, qualified", "SELECT ('x', 1) IN aiscope.sealed", "run"),
    Attack("sealed as a parameter", "SELECT * FROM {t:Identifier}", "sealed", parameters={"t": "sealed"}),
    Attack("sealed by merge()", "SELECT * FROM merge('aiscope', '^sealed$')", "sealed"),
    Attack("sealed by remote()", "SELECT * FROM remote('127.0.0.1', aiscope.sealed)", "sealed"),
    Attack("sealed by cluster()", "SELECT * FROM cluster('default', aiscope.sealed)", "sealed"),
    Attack("sealed by loop()", "SELECT * FROM loop(aiscope.sealed) LIMIT 1", "sealed"),
    Attack("sealed by mergeTreeIndex()", "SELECT * FROM mergeTreeIndex('aiscope', 'sealed')", "run"),
    Attack("sealed described", "DESCRIBE TABLE sealed", "run"),
    Attack("sealed shown", "SHOW CREATE TABLE aiscope.sealed", "run"),
    Attack("sealed by an admin", "SELECT ciphertext FROM sealed", "sealed", user="adam"),
    Attack("identities by an analyst", "SELECT user FROM identities", "sealed"),
    Attack("identities by a reader", "SELECT user FROM identities", "sealed", user="rita"),
    Attack("connections by a reader", "SELECT server_name FROM connections", "sealed", user="rita"),
    Attack("exchanges by a reader", "SELECT excerpt FROM exchanges", "sealed", user="rita"),
    Attack("usage by a sensor", "SELECT server_name FROM usage", "sealed", user="tap-1"),
    Attack("its own rows by a sensor", "SELECT server_name FROM connections", "sealed", user="tap-1"),
    Attack("system.processes", "SELECT '{seal}' AS x, query FROM system.processes", "sealed"),
    Attack("system.users", "SELECT '{seal}', name FROM system.users", "sealed"),
    Attack("system.disks", "SELECT '{seal}', path FROM system.disks", "sealed"),
    Attack("system.parts", "SELECT '{seal}', path FROM system.parts", "sealed"),
    Attack("information_schema", "SELECT * FROM information_schema.tables", "run"),
    Attack("system by database=", "SELECT * FROM processes", "run", database="system"),
    Attack("a path as database", "SELECT 1", "run", database="../../etc"),
    Attack("url()", "SELECT * FROM url('http://127.0.0.1:9/', LineAsString)", "run"),
    Attack("s3()", "SELECT * FROM s3('http://127.0.0.1:9/a', 'CSV')", "run"),
    Attack("mysql()", "SELECT * FROM mysql('127.0.0.1:9', 'a', 'b', 'c', 'd')", "run"),
    Attack("reverseDNSQuery", "SELECT reverseDNSQuery('192.0.2.1')", "run"),
    Attack("aiGenerate", "SELECT aiGenerate('x')", "run"),
    Attack("sleep", "SELECT sleep(3)", "run"),
    Attack("sleepEachRow", "SELECT sleepEachRow(1) FROM numbers(3)", "run"),
    Attack("hostName", "SELECT hostName()", "run"),
    Attack("getServerSetting", "SELECT getServerSetting('max_server_memory_usage')", "run"),
    Attack("getMacro", "SELECT getMacro('x')", "run"),
    Attack("no limit of time by URL", "SELECT 1", "run", settings={"max_execution_time_leaf": "0"}),
    Attack("no limit of memory by profile", "SELECT 1", "run", settings={"profile": "default"}),
    Attack("readonly by SETTINGS", "SELECT 1 SETTINGS readonly = 0", "run"),
    Attack("ddl by SETTINGS", "SELECT 1 SETTINGS allow_ddl = 1", "run"),
    Attack("server memory", "SELECT 1", "run", settings={"max_server_memory_usage": "0"}),
    Attack("a file by a setting", "SELECT 1", "run", settings={"format_schema_path": "/etc"}),
    Attack("errors into a file", "SELECT 1", "run", settings={"input_format_record_errors_file_path": "x"}),
    Attack("limits inside", "SELECT * FROM (SELECT 1 SETTINGS max_memory_usage = 0)", "run"),
]

ATTACKS = [*READ_FILES, *WRITES, *LOOKS]
