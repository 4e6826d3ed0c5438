"""Leaving root behind: another user, no capability, and no way back. Linux only."""

from __future__ import annotations

import ctypes
import os
import pwd
import struct

_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4  # linux/prctl.h
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h


def user_to_be(asked: str | None) -> pwd.struct_passwd | None:
    """Whom to become: the one asked for; else, as root, who called sudo, or `aiscope`. None: nobody.

    Raises ValueError for a user that does not exist, PermissionError for one that only root could become.
    """
    if asked is None and os.geteuid() == 0:
        asked = next(
            (name for name in (os.environ.get("SUDO_USER"), "aiscope") if name and _known(name)), None
        )
    if asked is None:
        return None
    if not _known(asked):
        raise ValueError(f"user {asked!r}: there is no such user")
    user = pwd.getpwnam(asked)
    if os.geteuid() not in (0, user.pw_uid):
        raise PermissionError(f"only root can become {asked}")
    return user


def _known(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def drop(user: pwd.struct_passwd | None) -> None:
    """Become `user` and give every capability away.

    Capabilities are a thread's own: call it while there is one thread.
    """
    if user and os.geteuid() != user.pw_uid:
        os.setgroups([])
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(libc.capset(header, bytes(24)))  # effective, permitted and inheritable: none
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _check(outcome: int) -> None:
    if outcome:
        code = ctypes.get_errno()
        raise OSError(code, f"capabilities cannot be given away: {os.strerror(code)}")
