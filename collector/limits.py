"""What one statement may take of the machine, and which settings a client may give."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collector.errors import Refused


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes and seconds of one statement, and what all of them together may take."""

    query_bytes: int = 768 << 20
    query_seconds: int = 60
    insert_seconds: int = 120
    server_bytes: int = 2 << 30
    body_bytes: int = 1 << 30  # of an insert, decoded
    disk_bytes: int = 2 << 30  # temporary data of one statement
    running: int = 48  # statements at once, of all users


# A client may lower these, not raise them.
def ceilings(bounds: Bounds) -> dict[str, int]:
    """Settings with an upper bound; 0 means none to the engine, and is not taken for one here."""
    return {
        "max_execution_time": bounds.query_seconds,
        "max_memory_usage": bounds.query_bytes,
        "max_temporary_data_on_disk_size_for_query": bounds.disk_bytes,
        "max_threads": 64,
        "max_block_size": 1 << 20,
    }


# These change how something is read, computed or written, and nothing else.
_FREE = re.compile(
    r"(?:(?:input|output)_format_(?!.*(?:path|file|url|schema|template))\w+|format_(?:csv|tsv|binary)_\w+|"
    r"date_time_(?:in|out)put_format|cast_\w+|join_use_nulls|group_by_use_nulls|union_default_mode|extremes|"
    r"session_timezone|limit|offset|max_result_(?:rows|bytes)|result_overflow_mode|max_rows_to_read|"
    r"max_bytes_to_read|read_overflow_mode|timeout_overflow_mode|max_rows_to_group_by|max_rows_in_join|"
    r"count_distinct_implementation|aggregate_functions_null_for_empty|prefer_column_name_to_alias|final|"
    r"insert_deduplication_token|deduplicate_blocks_in_dependent_materialized_views|insert_deduplicate|"
    r"log_comment|transform_null_in|optimize_\w+|any_join_distinct_right_table_keys|max_insert_block_size|"
    r"allow_experimental_\w+|allow_suspicious_\w+|wait_for_async_insert|async_insert|"
    r"distributed_foreground_insert|insert_null_as_default|"
    r"http_\w+|low_cardinality_\w+|data_type_default_nullable|describe_\w+|show_table_uuid_\w+|send_\w+)"
)
# Accepted because clients send them, and without effect: nothing is asynchronous, logged or sent as progress.
_IGNORED = re.compile(
    r"(?:http_|send_|wait_for_async_insert|async_insert|log_comment|allow_experimental_)\w*"
)


def writable(known: Iterable[str], bounds: Bounds) -> list[str]:
    """Those of the engine's settings that a client may give."""
    return sorted(name for name in known if name in ceilings(bounds) or _FREE.fullmatch(name))


def permitted(given: Mapping[str, str], bounds: Bounds, known: frozenset[str]) -> dict[str, str]:
    """The client's settings that go to the engine. Refused with a setting's name when one may not."""
    most = ceilings(bounds)
    found = {}
    for name, value in given.items():
        if name in most:
            found[name] = _lowered(name, value, most[name])
        elif not _FREE.fullmatch(name):
            reason = "may not be set here" if name in known else "there is no such setting"
            raise Refused(
                "SETTING_CONSTRAINT_VIOLATION" if name in known else "UNKNOWN_SETTING", f"{name}: {reason}"
            )
        elif not _IGNORED.fullmatch(name):
            found[name] = value
    return found


def _lowered(name: str, value: str, most: int) -> str:
    try:
        number = float(value)
    except ValueError:
        raise Refused("BAD_QUERY_PARAMETER", f"{name}: not a number") from None
    if not 0 < number < most:
        return str(most)
    return f"{max(number, 0.001):.3f}" if number % 1 else f"{number:.0f}"  # 0 would be no limit


def for_reading(given: Mapping[str, str], bounds: Bounds) -> dict[str, str]:
    """All settings of a read: the client's, the ceilings where it gave none, and the latch."""
    return {
        "max_execution_time": str(bounds.query_seconds),
        "max_memory_usage": str(bounds.query_bytes),
        "max_temporary_data_on_disk_size_for_query": str(bounds.disk_bytes),
        "allow_ddl": "0",
        "allow_introspection_functions": "0",
        **given,
        "readonly": "1",
    }


def for_writing(given: Mapping[str, str], bounds: Bounds) -> dict[str, str]:
    """All settings of an insert. Columns that rows have and the statement does not name are skipped."""
    return {
        "input_format_skip_unknown_fields": "1",
        "date_time_input_format": "best_effort",
        **given,
        "max_execution_time": str(bounds.insert_seconds),
        "max_memory_usage": str(bounds.query_bytes),
    }
