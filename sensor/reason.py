"""What went wrong, in words for people: the system's own errors without their number."""

from __future__ import annotations

import os


def reason(error: Exception) -> str:
    """In one line, with the file it is about."""
    if not isinstance(error, OSError) or error.strerror is None:
        return why(error)
    name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{name}{error.strerror}"


def why(error: Exception) -> str:
    """Where the file is said already."""
    inner = getattr(error, "reason", None)  # of a URLError, which says no more than that
    if isinstance(inner, OSError):
        return why(inner)
    return str(getattr(error, "strerror", None) or error)
