from __future__ import annotations

import base64
import time
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.codec import Decoder, choose
from collector.errors import Refused
from collector.gate import insert
from collector.request import Login, Request, Table, parse, parse_form

from .served import parted

TEXT = st.text(max_size=40)
HEADERS = st.sampled_from(["authorization", "x-clickhouse-user", "x-clickhouse-key", "x-clickhouse-database"])


def test_what_is_setting_parameter_and_our_own():
    asked = parse(b"query=SELECT+1&param_a=1&max_threads=2&wait_end_of_query=1&session_id=x&readonly=2", {})
    assert (asked.query, asked.parameters, asked.settings) == ("SELECT 1", {"a": "1"}, {"max_threads": "2"})
    assert asked.wait
    assert asked.login is None


@pytest.mark.parametrize(
    ("headers", "query", "login"),
    [
        ({"authorization": "Bearer t"}, b"", Login("", "t")),
        ({"authorization": "basic " + base64.b64encode(b"a:b:c").decode()}, b"", Login("a", "b:c")),
        ({"x-clickhouse-user": "a", "x-clickhouse-key": "b"}, b"", Login("a", "b")),
        ({}, b"user=a&password=b", Login("a", "b")),
    ],
)
def test_logins(headers: dict[str, str], query: bytes, login: Login):
    assert parse(query, headers).login == login


@pytest.mark.parametrize(
    "query", [b"query=a&query=b", b"a-b=1", b"%ff=1", b"query_id=" + b"a" * 200, b"decompress=1", b"x\xff=1"]
)
def test_what_is_refused(query: bytes):
    with pytest.raises(Refused):
        parse(query, {})


@given(st.dictionaries(TEXT, TEXT, max_size=8), st.dictionaries(HEADERS, TEXT, max_size=3))
def test_any_arguments_are_read_or_refused(fields: dict[str, str], headers: dict[str, str]):
    try:
        asked = parse(urlencode(fields).encode(), headers)
    except Refused as error:
        assert 400 <= error.status < 600  # noqa: PT017
        return
    assert isinstance(asked, Request)
    assert all(name.replace("_", "a").isalnum() for name in asked.settings)


@given(st.binary(max_size=200))
def test_any_query_string_is_read_or_refused(raw: bytes):
    try:
        parse(raw, {})
    except Refused as error:
        assert error.code > 0  # noqa: PT017


@given(st.binary(max_size=300), st.text(max_size=30))
def test_any_form_is_read_or_refused(body: bytes, boundary: str):
    try:
        parse_form(f"multipart/form-data; boundary={boundary}", body)
    except Refused as error:
        assert error.code > 0  # noqa: PT017


def test_a_form():
    kind, body = parted({"query": b"SELECT {x:String}", "param_x": b"\xc3\xa4"}, {})
    form = parse_form(kind["Content-Type"], body)
    assert (form.fields, form.files) == ({"query": "SELECT {x:String}", "param_x": "ä"}, {})
    for wrong in (body[:-6], body.replace(b'name="query"', b"x"), body.replace(b"param_x", b"query")):
        with pytest.raises(Refused):
            parse_form(kind["Content-Type"], wrong)


def test_tables_of_a_form_are_bytes_as_they_came():
    data = bytes(range(256)) + b"\r\n--\r\n\n\r"
    kind, body = parted(
        {"query": b"SELECT 1", "t_types": b"UInt8, Tuple(a Array(Int8), b String)"}, {"t": data}
    )
    asked = parse(b"t_format=RowBinary", {}, parse_form(kind["Content-Type"], body))
    assert asked.tables == (Table("t", "_1 UInt8, _2  Tuple(a Array(Int8), b String)", "RowBinary", data),)
    assert asked.settings == {}
    with pytest.raises(Refused, match="no structure"):
        parse(b"", {}, parse_form(kind["Content-Type"], body.replace(b"t_types", b"s_types")))


def test_a_form_of_many_semicolons_is_read_in_no_time():
    """Anybody may send one, before any login: a megabyte of them took a thread for many minutes."""
    many = b";" * 40_000
    begun = time.process_time()
    for kind, head in (("b", b'form-data; x="' + many), ('b; x="' + many.decode(), b"form-data; name=a")):
        body = b"--b\r\nContent-Disposition: " + head + b"\r\n\r\nv\r\n--b--\r\n"
        with suppress(Refused):
            parse_form(f"multipart/form-data; boundary={kind}", body)
    assert time.process_time() - begun < 0.5


@given(st.sampled_from(["lz4", "zstd", "gzip", "deflate", "br", "", "identity"]), st.binary(max_size=300))
def test_any_body_is_decoded_or_refused(coding: str, body: bytes):
    decoder = Decoder(coding)
    try:
        for at in range(0, len(body), 7):
            for piece in decoder.decode(body[at : at + 7]):
                assert len(piece) <= 4 << 20
        decoder.finish()
    except Refused as error:
        assert error.code in {33, 354}  # noqa: PT017


@given(st.text(max_size=60))
def test_any_accept_encoding(accepted: str):
    assert choose(accepted) in {"", "lz4", "zstd", "gzip", "deflate", "br"}


def test_the_clients_order_counts():
    assert choose("gzip;q=0.5, br;q=0.9, x") == "br"
    assert choose("lz4, zstd, br") == "lz4"
    assert choose("gzip;q=0, identity") == ""


@given(st.text(alphabet="INSERTO FMA(),`a=1'\\\n.V", max_size=80))
def test_any_insert_is_understood_or_not_one(text: str):
    found = insert("INSERT INTO " + text)
    assert found is None or 0 < found.data <= len(text) + 12


@pytest.mark.parametrize(
    ("text", "table", "columns", "form", "data"),
    [
        ("INSERT INTO t FORMAT CSV\n1", "t", (), "CSV", "1"),
        ("insert into aiscope.`t` (`a`, b) format Native\n\n", "t", ("a", "b"), "Native", "\n"),
        ("INSERT INTO TABLE t (a)\n SETTINGS x = 1, y='a b'\n FORMAT TSV 1", "t", ("a",), "TSV", "1"),
    ],
)
def test_inserts(text: str, table: str, columns: tuple[str, ...], form: str, data: str):
    found = insert(text)
    assert found
    assert (found.table, found.columns, found.form, text[found.data :]) == (table, columns, form, data)


@pytest.mark.parametrize(
    "text",
    ["INSERT INTO t VALUES (1)", "INSERT INTO t SELECT 1", "INSERT INTO FUNCTION file('x') FORMAT CSV\n",
     "INSERT INTO t (a) FROM INFILE 'x' FORMAT CSV", "INSERT INTO t (a, f(b)) FORMAT CSV", "SELECT 1"],
)  # fmt: skip
def test_what_is_no_insert_with_a_format(text: str):
    assert insert(text) is None


def test_what_is_no_insert_is_told_from_one_at_once():
    """A statement of spaces alone was looked at for minutes, and nobody else was served meanwhile."""
    begun = time.process_time()
    for beginning in ("INSERT INTO t", "INSERT INTO t (a)", "INSERT INTO t SETTINGS a = 1", "INSERT"):
        assert insert(beginning + " " * 30_000 + "x") is None
    assert time.process_time() - begun < 1
