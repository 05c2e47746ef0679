"""What was asked for of the target's files: rules for the layer, and what of that agent and bridge are to allow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from runner import worktree
from runner.config import Caller, RunOptions
from runner.errors import Refusal
from runner.files.rules import Mode, Rules, Wishes, explained
from runner.screen import Screen
from wire.messages import FilesMode

MODES = {"local": Mode.LOCAL, "read": Mode.READ, "write": Mode.WRITE, "overrides": Mode.OVERRIDES}

UNSAID = "read"
"""The mode of whoever says nothing, as long as nothing forbids it."""

FORBIDDEN = re.compile(r"/dev/fuse|device information|SYS_ADMIN|[Cc]apabilit")
"""What an engine's error names that will not have a bridge with the target's files."""


def named(options: RunOptions) -> bool:
    """Whether anything was said of files: then a run without them is none."""
    return bool(options.fs_mode) or _wishes(options) != Wishes()


def without(options: RunOptions) -> RunOptions:
    """The same run without the target's files, where nobody asked for them by name."""
    return replace(options, fs_mode="local")


def refused(options: RunOptions, why: str) -> RunOptions:
    """``without``, if nobody asked for files by name; else Refusal, which begins with ``why``."""
    if served(options) != FilesMode.NONE and named(options):
        raise Refusal(
            f"no files of the target: {why}", "have it allow that, or leave them out: --fs-mode local"
        )
    return without(options)


def served(options: RunOptions) -> FilesMode:
    """The most that any rule can come to. Refusal: rules for files, and the mode that has none."""
    wishes = _wishes(options)
    mode = _mode(options)
    if mode is Mode.LOCAL:
        if wishes != Wishes():
            raise Refusal(
                "rules for the target's files, and --fs-mode local", "give --fs-mode read, write or overrides"
            )
        return FilesMode.NONE
    if mode is Mode.WRITE or wishes.read_write:
        return FilesMode.WRITE
    return FilesMode.READ


def rules(options: RunOptions, caller: Caller, mounts: Sequence[str] = (), home: str = "") -> Rules:
    """Of this run: the work tree and the user's volumes are the project's, ``mounts`` the target's, ``home`` is the
    app's. An image of the user's own is the project's too, unless a mode was named."""
    tree = worktree.around(caller.cwd, caller.home)
    own = [str(tree.root)] if tree.root else []
    own += [volume.split(":")[1] for volume in options.volumes if volume.count(":")]
    # What these two change is in the container's; the target's would hide it from whoever reads the file.
    own += ["/etc/hosts"] * bool(options.add_hosts) + ["/etc/hostname"] * bool(options.hostname)
    return Rules(
        _mode(options),
        _wishes(options),
        own=own,
        mounts=mounts,
        home=home or str(caller.home),
        image=not options.fs_mode and bool(options.image or options.build),
    )


def explain(options: RunOptions, caller: Caller, paths: Sequence[str], screen: Screen) -> None:
    """A table on stdout. Without a target nobody knows what is mounted there."""
    screen.table(("PATH", "WHERE", "WHY"), explained(rules(options, caller), paths))


def _mode(options: RunOptions) -> Mode:
    return MODES[options.fs_mode or UNSAID]


def _wishes(options: RunOptions) -> Wishes:
    return Wishes(
        options.fs_not_found,
        options.fs_local,
        options.fs_read_only,
        options.fs_read_write,
        tuple(_mapping(text) for text in options.fs_mapped),
    )


def _mapping(text: str) -> tuple[str, str]:
    # A pattern has a ':' of its own, in (?:…).
    one, colon, other = text.rpartition(":") if text.startswith("^") else text.partition(":")
    if not colon:
        raise Refusal(f"--map-path {text!r} has no ':'", "write APP:TARGET, as /app/config:/etc/app")
    return one, other
