import time

from hypothesis import given
from hypothesis import strategies as st

from sensor.proxy.providers import form
from tests.sensor.proxy.providers.samples import cut, places

HEAD = b'Content-Disposition: form-data; name="file"; filename="plan \\"B\\".pdf"\r\n'
HEAD += b"Content-Type: application/pdf"
FIELD = b'Content-Disposition: form-data; name="prompt"'


def read(data: bytes, portions: list[int], keep: int = 1_000, delimiter: bytes = b"b") -> form.Form:
    found = form.Form(delimiter, keep)
    for portion in cut(data, portions):
        found.feed(portion)
    found.finish()
    return found


@given(st.lists(st.binary(max_size=40), max_size=5), places)
def test_what_is_written_is_read_in_any_portions(data: list[bytes], portions: list[int]) -> None:
    data = [one for one in data if b"--b" not in one]
    found = read(form.write([(FIELD, one) for one in data], b"b"), portions)
    assert ([bytes(part.data) for part in found.parts], found.cut) == (data, False)


@given(st.binary(max_size=300), places)
def test_any_bytes_in_any_portions(data: bytes, portions: list[int]) -> None:
    data = data.replace(b"\x00", b"\r\n--b").replace(b"\x01", b"\r\n\r\n")
    one, other = read(data, portions), read(data, [])
    assert [(part.header, part.data, part.size) for part in one.parts] == [
        (p.header, p.data, p.size) for p in other.parts
    ]
    assert one.cut == other.cut


def test_names_types_and_sizes() -> None:
    found = read(form.write([(FIELD, b"hi"), (HEAD, b"%PDF" + bytes(5_000))], b"b"), [], keep=4)
    field, file = found.parts
    assert (field.name, field.filename, bytes(field.data)) == ("prompt", "", b"hi")
    assert (file.filename, file.get("content-type"), file.size, bytes(file.data)) == (
        'plan "B".pdf',
        "application/pdf",
        5_004,
        b"%PDF",
    )


def test_empty_parts() -> None:
    data = b"--b\r\n" + FIELD + b"\r\n\r\n\r\n--b\r\n" + FIELD + b"\r\n\r\n--b--\r\n"
    assert [(part.name, part.size) for part in read(data, []).parts] == [("prompt", 0), ("prompt", 0)]


def test_half_a_form_is_cut() -> None:
    whole = form.write([(HEAD, bytes(100))], b"b")
    found = read(whole[:-30], [])
    assert found.cut
    assert found.parts[0].size < 110


def test_bounds() -> None:
    assert read(b"--b\r\n" + b"x" * 100_000, [5, 50_000]).cut
    many = read(form.write([(FIELD, b"")] * 1_500, b"b"), [])
    assert (len(many.parts), many.cut) == (1_000, True)


def test_parameters() -> None:
    assert form.parameter('form-data; name="a b"; filename=c', "filename") == "c"
    requests = "form-data; name=\"file\"; filename*=utf-8''M%C3%BCller%20A.pdf"  # where a name is not ASCII
    assert form.parameter(requests, "filename") == "Müller A.pdf"
    assert form.parameter(f'{requests}; filename="x.pdf"', "filename") == "x.pdf"
    assert form.parameter("form-data; filename*=", "filename") == ""
    assert form.boundary('multipart/form-data; boundary="x y"') == b"x y"
    assert form.boundary("multipart/form-data") == b""


def test_many_delimiters_and_quotes_take_linear_time() -> None:
    start = time.process_time()
    read(b"--b\r\n\r\n" * 1_000_000, [])
    form.parameter("form-data" + '; filename="' * 100_000, "filename")
    form.parameter("form-data" + '; filename="' + "\\\\" * 100_000, "filename")
    assert time.process_time() - start < 5
