"""Who the app runs as: the caller, so that what it makes in the work tree is the caller's; or whom -u names.

Names are looked up in the image's own /etc/passwd and /etc/group (passwd(5), group(5)), as docker does.
"""

from __future__ import annotations

from collections.abc import Callable

from runner.config import Caller
from runner.errors import Refusal
from wire.messages import User

ROOT = User(uid=0, gid=0)
"""Root keeps the image's passwd entry and HOME."""


def default(caller: Caller, *, rootless: bool) -> User | None:
    """The caller on Linux; None where only the image's own user makes sense.

    A rootless engine shows the caller as root to its containers. Elsewhere (Docker Desktop) files of the work tree are
    the caller's whoever writes them.
    """
    if caller.system != "Linux":
        return None
    if rootless or caller.uid == 0:
        return ROOT
    return User(uid=caller.uid, gid=caller.gid, name=caller.name, home=f"/home/{caller.name}")


def needs_files(asked: str) -> bool:
    """Whether ``asked`` (-u, or an image's USER) must be looked up; "0" and "" need no file."""
    return asked not in ("", "0", "root", "0:0", "root:root")


def named(asked: str, passwd: bytes, group: bytes) -> User:
    """``asked`` is NAME or UID, then perhaps ":" and NAME or GID, as of docker's -u. ROOT for an empty one."""
    if not needs_files(asked):
        return ROOT
    who, _, their_group = asked.partition(":")
    entry = _find(passwd, lambda fields: who in (fields[0], fields[2]) if len(fields) >= 7 else False)
    if entry is None and not who.isdecimal():
        raise Refusal(
            f"the image has no user {who!r}", "give -u a number, or a name of the image's /etc/passwd"
        )
    uid = int(entry[2]) if entry else int(who)
    gid = int(entry[3]) if entry else 0
    groups: tuple[int, ...] = ()
    if their_group:
        gid = _gid(their_group, group)
    elif entry:
        groups = _memberships(entry[0], group)
    if entry:
        return User(uid, gid, groups, name="", home=entry[5] or "/")
    return User(uid, gid, groups, name=f"u{uid}", home=f"/home/u{uid}")


def _gid(asked: str, group: bytes) -> int:
    if asked.isdecimal():
        return int(asked)
    entry = _find(group, lambda fields: fields[0] == asked and len(fields) >= 3)
    if entry is None:
        raise Refusal(
            f"the image has no group {asked!r}", "give a number, or a name of the image's /etc/group"
        )
    return int(entry[2])


def _memberships(name: str, group: bytes) -> tuple[int, ...]:
    rows = (row.split(":") for row in group.decode(errors="replace").splitlines())
    return tuple(
        int(row[2]) for row in rows if len(row) >= 4 and row[2].isdecimal() and name in row[3].split(",")
    )


def _find(table: bytes, fits: Callable[[list[str]], bool]) -> list[str] | None:
    rows = (row.split(":") for row in table.decode(errors="replace").splitlines())
    return next((row for row in rows if fits(row)), None)
