from __future__ import annotations

import base64
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.codec import Decoder, choose
from collector.errors import Refused
from collector.gate import insert
from collector.request import Login, Request, form_fields, parse

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


@settings(deadline=None)
@given(st.binary(max_size=300), st.text(max_size=30))
def test_any_form_is_read_or_refused(body: bytes, boundary: str):
    try:
        form_fields(f"multipart/form-data; boundary={boundary}", body)
    except Refused as error:
        assert error.code > 0  # noqa: PT017


def test_a_form():
    body = b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT {x:String}\r\n--b\r\n' \
           b'Content-Disposition: form-data; name="param_x"\r\n\r\n\xc3\xa4\r\n--b--\r\n'  # fmt: skip
    assert form_fields("multipart/form-data; boundary=b", body) == {
        "query": "SELECT {x:String}",
        "param_x": "ä",
    }
    with pytest.raises(Refused, match="external data"):
        form_fields(
            "multipart/form-data; boundary=b", body.replace(b'name="param_x"', b'name="t"; filename="t"')
        )


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
