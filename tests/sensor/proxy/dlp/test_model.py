"""Keyed fingerprints: equal for equal values, however they are written; nothing without the key."""

from sensor.proxy.dlp import fingerprint, normalised


def test_ways_of_writing_a_value_have_one_fingerprint():
    key = b"k" * 32
    assert fingerprint(key, "payment-card", "4539 1488-0343 6467") == fingerprint(
        key, "payment-card", "4539148803436467"
    )
    assert fingerprint(key, "email", "Jane@Corp.com") == fingerprint(key, "email", "jane@corp.com")
    assert fingerprint(key, "phone", "０９０－１２３４") == fingerprint(key, "phone", "090-1234")
    assert fingerprint(key, "person-name", "Mu\u0308ller") == fingerprint(key, "person-name", "M\\u00fcller")
    assert fingerprint(key, "iban", "de89 3704") == fingerprint(key, "iban", "DE893704")


def test_other_keys_classes_and_values_have_others():
    key = b"k" * 32
    value = fingerprint(key, "email", "a@b.com")
    assert len(value) == 32
    others = {
        fingerprint(b"x" * 32, "email", "a@b.com"),
        fingerprint(key, "custom", "a@b.com"),
        fingerprint(key, "email", "a@b.co"),
    }
    assert value not in others
    assert len(others) == 3


def test_secrets_keep_their_case_and_any_text_can_be_hashed():
    assert normalised("credentials", "aB c") == "aB c"
    assert fingerprint(b"k", "custom", "\ud800") != ""
