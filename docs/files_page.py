"""docs/files.md, made of what decides: the layer's list of hooks and the default rules."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from runner.files import defaults

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "files.md"
HOOKS = ROOT / "layer" / "preload" / "hooks.def"
NOTIFIED = ROOT / "layer" / "preload" / "notified.def"

HEAD = """\
<!-- Made by docs/generate.py from layer/preload/hooks.def and runner/files/defaults.py. -->
# The target's files

The app's programs, as they are, see files of the target. A library in the
app (LD_PRELOAD, for glibc from 2.17 and for musl) decides by rules whose each path is; for one of the target's it asks
the bridge once and gets a descriptor of the kernel's. Reading, mapping, listing, inheriting and passing on are the
kernel's from there ([plan-files.md](plan-files.md)).

| mode | a path of the target's is | what is written |
|---|---|---|
| `local` | none | the container's |
| `read` (default) | read from the target | to a copy in the container, made when it is first written |
| `write` | the target's | to the target |
| `overrides` | only where one of your rules says so | as that rule says |

Nothing has to be said for `read`; and whoever said nothing has a session without files, and is told so, where they
cannot be had: the right `mirrorsessions/files` is missing, the engine gives the bridge no /dev/fuse or SYS_ADMIN, or
its kernel no FUSE. Whoever names a mode or a rule is refused there. Without a target (`--targetless`) there are none.
At the end it is said how many files were read, and how much of them.

With `read` a folder of the target's stays the target's: what the app makes in it is found by its name, and listed with
what the target has there by whoever opens the folder from then on. What the target has cannot be taken away (EROFS).

## Which rule decides

The first of these that says something about a path:

1. yours: `--fs-not-found`, `--fs-local`, `--fs-read-only`, `--fs-read-write`, regular expressions found anywhere in the
   path, asked in this order;
2. folders of this run, the longest first: the work tree, your volumes and your home are the container's, what is
   mounted in the target is the target's;
3. the defaults below, in their order (not with `overrides`);
4. the mode; but with an image of your own (`--image`, `--build`) and no mode named, what is not decided by then is that
   image's.

`--map-path APP:TARGET` makes a path of the app's another one before any rule is asked: a folder's, or, with a pattern
that begins with `^`, what it matches: `--map-path '^/home/[^/]+/conf/(.*):/etc/\\1'` (five groups at most; folders are
asked first). `mirror-run explain PATH…` says
which rule decides. Patterns are Python's without what needs a second look at the path: looking ahead or back,
references to groups, word boundaries.
"""

SPAWNS = """\
posix_spawn's addopen and addchdir_np take the target's paths; what they mean is decided when they are called. wordexp
finds the target's names, but not by what a variable's value has of `* ? [`.
"""

SOCKETS = """\
A Unix socket whose path is the target's (a database's, an engine's, a log's) is connected to from inside the target, as
its process, and only where the session may go out from the target at all: streams and packets (SOCK_SEQPACKET, 208 KiB
each) both ways, datagrams there (connected, sendto, sendmsg), of which none comes back. Descriptors (SCM_RIGHTS) mean
nothing there: sendmsg is EOPNOTSUPP, and where the layer does not see them the connection is reset, also by those that
a server of the target's passes. A socket that is bound stays in the container, and hides one of the target's by that
name.
"""

BARE = """\
What is different for such a program and what it starts:

- `sudo`, `ping` and other programs that become another user do not (no_new_privs), and a seccomp listener of its own is
  refused (EBUSY). One that became another user before has no layer and no listener: it sees the container's files, and
  is counted at the end.
- O_PATH gives a descriptor for reading; io_uring's own open finds the container's.
- A program of the target's is copied into the container, and run there by a link of its own name; where the container
  has another file by that name it is EACCES.
- A socket that is connected or bound to a path of the target's is another one by that number: it has O_NONBLOCK and
  close-on-exec as the first had, and nothing else that was set before.
- sendto and sendmsg to a path find the container's socket; one that is connected reaches the target's.
- Who inherits an inotify adds the container's files to it.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## The defaults\n"]
    for title, patterns in (
        ("Not found", defaults.NOT_FOUND),
        ("The target's", defaults.TARGET),
        ("The container's", defaults.LOCAL),
    ):
        parts.append(f"{title}:\n\n" + "".join(f"    {pattern}\n" for pattern in patterns))
    parts.append("## Calls\n")
    parts.append("Of libc, by family:\n")
    for family, names in families().items():
        listed = textwrap.fill(", ".join(f"`{name}`" for name in names), 120, break_on_hyphens=False)
        parts.append(f"**{family}**\n{listed}\n")
    parts.append(
        "Programs of the target's are run where one of your own rules names their path: with the loader and the"
        " libraries of the\ncontainer. Else the container's own is meant, and where it has none, it is EACCES.\n"
    )
    parts.append(SPAWNS)
    parts.append(SOCKETS)
    parts.append(
        "inotify(7) says what becomes of the target's files within a second or so: made, written, renamed, removed, and"
        " other\nattributes; not who opens or reads them, nor what the app has made beside them\nin copies of its own."
        " 512 paths of a session, 4,096 names in a folder; more are"
        " ENOSPC.\n"
    )
    parts.append("## Programs without a loader\n")
    parts.append(
        "Static programs, and those of Go, make the same calls without libc; and a cleaned environment (`env -i`) names"
        " no\nlayer. They get the same answers, because the kernel asks mirror-init about them (seccomp_unotify(2),"
        " Linux 5.14):\n"
    )
    parts.append(
        textwrap.fill(", ".join(f"`{name}`" for name in notified()), 120, break_on_hyphens=False) + "\n"
    )
    parts.append(BARE)
    return "\n".join(parts)


def notified() -> list[str]:
    """As notified.def has them, in its order."""
    return re.findall(r"^CALL\((\w+), ", NOTIFIED.read_text(encoding="utf-8"), re.MULTILINE)


def families() -> dict[str, list[str]]:
    """As hooks.def has them, in its order."""
    found: dict[str, list[str]] = {}
    for name, family in re.findall(
        r"^HOOK\((\w+), (\w+)\)$", HOOKS.read_text(encoding="utf-8"), re.MULTILINE
    ):
        found.setdefault(family, []).append(name)
    return found
