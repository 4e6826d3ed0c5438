"""Fields in cases become the same made-up text every time."""

import pytest

from sensor.proxy.dlp.samples import UnknownFieldError, expand


def test_fields():
    text = expand("a {{hex:8}} {{HEX:4}} {{digits:3}} {{uuid}} {{jwt}} b")
    assert text == expand("a {{hex:8}} {{HEX:4}} {{digits:3}} {{uuid}} {{jwt}} b")
    assert text != expand("a {{hex:8}} {{HEX:4}} {{digits:3}} {{uuid}} {{jwt}} b", seed=1)
    words = text.split()
    assert [len(w) for w in words[:5]] == [1, 8, 4, 3, 36]
    assert words[5].count(".") == 2


@pytest.mark.parametrize("text", ["{{x:3}}", "{{hex}}", "{{uuid:3}}"])
def test_unknown_fields(text):
    with pytest.raises(UnknownFieldError):
        expand(text)
