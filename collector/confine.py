"""What the serving process can reach at all: grants of the engine, and Landlock over both.

The engine's grants are fixed by the first handle of a process, and its threads outlive a close. So a child process
migrates with full rights and ends; the parent restricts itself before it loads the engine.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from collector import figures
from collector.access import DECISIONS, EVENTS, TIERS
from collector.gate import DATABASE, SYSTEM
from collector.limits import Bounds
from sensor.config import store_url

# linux/landlock.h. Rights on files by version of the interface, and on TCP since 4.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _REFER, _IOCTL_DEV = 1 << 14, 1 << 13, 1 << 15
_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP = 0b11  # bind and connect
_SCOPED = 0b11  # abstract sockets and signals, since 6
_READ = _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_NO_NEW_PRIVS = 38

WRITER = (
    "writer"  # the tier of inserts: rollups are made by reading what is inserted, through the same policies
)
# The engine looks at these to size itself; of /proc nothing else, so that it cannot tell an environment.
_PROC = (
    "self/auxv",  # without it the engine looks behind `environ`, where after a setenv anything may be: SIGSEGV
    "meminfo",
    "cpuinfo",
    "stat",
    "loadavg",
    "self/statm",
    "self/status",
    "self/stat",
    "self/maps",
    "self/cgroup",
)
# An owner's dictionaries may be filled from the owner's own tables: for that the engine must know what localhost is.
NAMES = (Path("/etc/hosts"), Path("/etc/nsswitch.conf"), Path("/etc/host.conf"), Path("/etc/resolv.conf"))
# System tables need no grant. These tell of other users' statements, of paths and of the server: nobody sees rows
# but `aiscope store doctor` of an admin (collector/figures.py).
_TELLING = """processes parts parts_columns projection_parts detached_parts disks storage_policies users grants roles
    row_policies server_settings errors stack_trace merges mutations backups metrics asynchronous_metrics events
    macros clusters dictionaries named_collections query_cache certificates dropped_tables build_options""".split()  # noqa: SIM905


# Parts of a size that are merged into one; ClickHouse's 5 means more copies of every row, and more of the machine.
MERGED = 12


@dataclass(frozen=True, slots=True)
class Confined:
    """What Landlock holds here; `missing` says what this kernel has not."""

    version: int
    missing: tuple[str, ...]


class _Attributes(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> Confined:
    """From here on this thread and those it starts read and write below these paths only, and open no connection.

    Must be called before the engine is loaded. OSError when a kernel with Landlock refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return Confined(0, ("files", "TCP connections", "signals"))
    handled = _FILES[max(v for v in _FILES if v <= version)]
    attributes = _Attributes(handled, _TCP if version >= 4 else 0, _SCOPED if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _called(
        libc, _CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0)
    )
    for paths, rights in ((readable, _READ), (writable, handled & ~_EXECUTE)):
        for path in paths:
            _allow(libc, ruleset, path, rights & handled)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    _called(libc, _RESTRICT_SELF, ruleset, ctypes.c_uint32(0))
    os.close(ruleset)
    missing = (("TCP connections",) if version < 4 else ()) + (("signals",) if version < 6 else ())
    return Confined(version, missing)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rights &= rights if path.is_dir() else _ON_FILES
        rule = _Beneath(rights, descriptor)
        _called(libc, _ADD_RULE, ruleset, ctypes.c_int(1), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(descriptor)


def _called(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    result: int = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result


def needed() -> list[Path]:
    """What Python and the engine read while they run: libraries, this package, processor and memory figures."""
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    base = [sys.base_prefix + "/lib", "/usr/lib", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache"]
    own = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "sensor")]
    system = ["/sys/devices/system/cpu", "/sys/fs/cgroup", "/dev/null", "/dev/urandom"]
    return [Path(path) for path in (*libraries, *base, *own, *system)] + [
        Path("/proc") / name for name in _PROC
    ]


def migrate(directory: Path) -> None:
    """`aiscope migrate`, in a process of its own. OSError with its words when it fails."""
    command = [sys.executable, "-m", "sensor.cli", "migrate", "--store", store_url(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["the store cannot be migrated"]
        raise OSError(said[-1].removeprefix("aiscope: "))  # which is said of it once more


def configuration(directory: Path, bounds: Bounds, key: str | None) -> Path:
    """Write the engine's configuration into the store's directory: memory, and what its only user may do.

    `key` is what a handle's tier begins with (`tier`); None grants everything, to a directory's owner.
    """
    grants = _grants() if key is not None else ["GRANT ALL ON *.* WITH GRANT OPTION"]
    wanted = "".join(f"<query>{grant}</query>" for grant in grants)
    filters = _filters(key) if key is not None else ""
    users = directory / "aiscope-users.xml"
    _write(
        users,
        f"""<clickhouse>
<profiles><default/></profiles><quotas><default/></quotas>
<users><default><password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
<grants>{wanted}</grants><databases>{filters}</databases></default></users>
</clickhouse>
""",
    )
    config = directory / "aiscope-config.xml"
    _write(
        config,
        f"""<clickhouse>
<max_server_memory_usage>{bounds.server_bytes}</max_server_memory_usage>
<merge_tree><merge_selector_base>{MERGED}</merge_selector_base></merge_tree>
<mark_cache_size>{64 << 20}</mark_cache_size>
<uncompressed_cache_size>0</uncompressed_cache_size>
<users_config>{escape(str(users))}</users_config>
<storage_configuration><disks>
<backups><type>local</type><path>{escape(str(directory))}/backups/</path></backups>
</disks></storage_configuration>
<backups><allowed_disk>backups</allowed_disk></backups>
</clickhouse>
""",
    )
    return config


def tier(key: str, role: str) -> str:
    """The value of `log_comment` that a role's handles have. The engine has one user only; its row policies ask for
    this setting instead, which the latch fixes and clients cannot give."""
    return f"{key}-{role}" if key else ""


def _filters(key: str) -> str:
    """Row policies: which roles see rows of a table at all, whatever the statement."""
    filters = []
    for table, roles in TIERS.items():
        seen = ", ".join(f"'{tier(key, role)}'" for role in (*roles, WRITER))
        condition = f"getSetting('log_comment') IN ({seen})"
        filters.append(f"<{table}><filter>{condition}</filter></{table}>")
    doctor = f"getSetting('log_comment') = '{tier(key, figures.DOCTOR)}'"
    inside = {table: doctor if table in figures.TABLES else "0" for table in _TELLING}
    system = "".join(f"<{table}><filter>{what}</filter></{table}>" for table, what in inside.items())
    return f"<{DATABASE}>{''.join(filters)}</{DATABASE}><system>{system}</system>"


def _grants() -> list[str]:
    """Reading the store and inserting where anybody may. No file, no network, no change of the schema."""
    tables = sorted(EVENTS | DECISIONS | {"audit"})
    return [
        f"GRANT SELECT, SHOW ON {DATABASE}.*",
        *(f"GRANT INSERT ON {DATABASE}.{table}" for table in tables),
        *(f"GRANT SELECT, SHOW ON {database}.{table}" for database, table in sorted(SYSTEM)),
        "GRANT CREATE TEMPORARY TABLE ON *.*",
        f"GRANT BACKUP ON {DATABASE}.*",
        "GRANT READ, WRITE ON DISK",  # for backups: `allowed_disk` above
    ]


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
