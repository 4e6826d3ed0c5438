from __future__ import annotations

import pytest

from sensor.proxy import tenant


def test_headers_by_vendor() -> None:
    found = tenant.read(("openai=ws", "microsoft=example.com;dir"))
    assert found["openai"] == (("ChatGPT-Allowed-Workspace-Id", "ws"),)
    assert found["microsoft"][1] == ("Restrict-Access-Context", "dir")
    assert "=login.microsoftonline.com" in tenant.logins(found)
    assert tenant.vendor_of("login.microsoftonline.com", "") == "microsoft"
    assert tenant.vendor_of("chatgpt.com", "openai") == "openai"


@pytest.mark.parametrize("entry", ["openai", "openai=", "acme=x", "microsoft=only-one", "openai=a\r\nx: y"])
def test_what_is_no_tenant(entry: str) -> None:
    with pytest.raises(ValueError, match="expected one of"):
        tenant.read((entry,))
