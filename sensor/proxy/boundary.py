"""The boundary between mitmproxy and us: what goes wrong in one of our hooks ends here, counted and logged.

The log says what kind of error and where, never its message, which may quote content.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

_log = logging.getLogger("aiscope.proxy")
Hook = TypeVar("Hook", bound=Callable[..., Any])


class Boundary:
    """What has guarded hooks."""

    errors = 0

    def failed(self, hook: str, error: Exception, argument: Any) -> None:
        """Count and log; who knows what to do about it, overrides this."""
        self.errors += 1
        where = error.__traceback__
        while where and where.tb_next:
            where = where.tb_next
        line = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else ""
        _log.error("%s failed: %s at %s", hook, type(error).__name__, line)


def guarded(hook: Hook) -> Hook:
    """The boundary: whatever goes wrong in a hook ends here."""
    if inspect.iscoroutinefunction(hook):

        @functools.wraps(hook)
        async def waiting(self: Boundary, argument: Any) -> None:
            try:
                await hook(self, argument)
            except Exception as error:  # noqa: BLE001 - the boundary
                self.failed(hook.__name__, error, argument)

        return cast(Hook, waiting)

    @functools.wraps(hook)
    def at_once(self: Boundary, argument: Any) -> None:
        try:
            hook(self, argument)
        except Exception as error:  # noqa: BLE001 - the boundary
            self.failed(hook.__name__, error, argument)

    return cast(Hook, at_once)
