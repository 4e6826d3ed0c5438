import hashlib

from hypothesis import given
from hypothesis import strategies as st

from sensor.proxy.providers import Request, Upload, form, recognise
from sensor.proxy.providers import upload as upload_module
from tests.sensor.proxy.providers.samples import cut, places, post

FILE = b'Content-Disposition: form-data; name="file"; filename="a.pdf"\r\nContent-Type: application/pdf'
FIELD = b'Content-Disposition: form-data; name="prompt"'


def start(kind: str, method: str = "POST", path: str = "/v1/files") -> Upload:
    request = Request(method, "https", "api.openai.com", 443, path, {}, {"content-type": kind})
    found = recognise(request, "openai-api")
    assert found
    upload = found.upload(request)
    assert upload
    return upload


@given(st.binary(max_size=500), places)
def test_a_form_s_files_are_hashed_as_they_pass(data: bytes, portions: list[int]) -> None:
    data = data.replace(b"--b", b"")
    upload = start("multipart/form-data; boundary=b")
    body = form.write([(FIELD, b"what is this"), (FILE, data)], b"b")
    for portion in cut(body, portions):
        upload.feed(portion)
    texts, files, missing = upload.finish()
    assert [(text.where, text.text, text.role) for text in texts] == [(None, "what is this", "user")]
    assert [(one.name, one.type, one.size, one.sha256, one.data) for one in files] == [
        ("a.pdf", "application/pdf", len(data), hashlib.sha256(data).hexdigest(), data)
    ]
    assert (missing, upload.size) == (False, len(body))


def test_what_is_held_is_bounded() -> None:
    for kind in ("application/octet-stream", "multipart/form-data; boundary=b"):
        upload = start(kind, "PUT", "/bucket/plan.bin")
        upload.feed(b"--b\r\n" + FILE + b"\r\n\r\n")
        for _ in range(100):
            upload.feed(bytes(65_536))
        _, (file,), _ = upload.finish()
        assert len(file.data) == upload_module.KEEP
        assert file.size > 6_000_000
        assert file.name == ("a.pdf" if "form" in kind else "plan.bin")


def test_json_must_be_held() -> None:
    request = post("/v1/chat/completions", {})
    found = recognise(request, "openai-api")
    assert found
    assert found.upload(request) is None
