"""What was asked for of the target's files: rules for the layer, and what of that agent and bridge are to allow."""

from __future__ import annotations

from collections.abc import Sequence

from runner import worktree
from runner.config import Caller, RunOptions
from runner.errors import Refusal
from runner.files.rules import Mode, Rules, Wishes, explained
from runner.screen import Screen
from wire.messages import FilesMode

MODES = {"local": Mode.LOCAL, "read": Mode.READ, "write": Mode.WRITE, "overrides": Mode.OVERRIDES}

EXPLAINED = Mode.READ
"""What `mirror-run explain` explains where no mode was given: with `local` there is nothing to explain."""


def served(options: RunOptions) -> FilesMode:
    """The most that any rule can come to. Refusal: rules for files, and the mode that has none."""
    wishes = _wishes(options)
    mode = MODES[options.fs_mode]
    if mode is Mode.LOCAL:
        if wishes != Wishes():
            raise Refusal(
                "rules for the target's files, and --fs-mode local", "give --fs-mode read, write or overrides"
            )
        return FilesMode.NONE
    if mode is Mode.WRITE or wishes.read_write:
        return FilesMode.WRITE
    return FilesMode.READ


def rules(options: RunOptions, caller: Caller, mounts: Sequence[str] = ()) -> Rules:
    """Of this run: the work tree and the user's volumes are the project's, ``mounts`` the target's."""
    tree = worktree.around(caller.cwd, caller.home)
    own = [str(tree.root)] if tree.root else []
    own += [volume.split(":")[1] for volume in options.volumes if volume.count(":")]
    return Rules(MODES[options.fs_mode], _wishes(options), own=own, mounts=mounts, home=str(caller.home))


def explain(options: RunOptions, caller: Caller, paths: Sequence[str], screen: Screen) -> None:
    """A table on stdout. Without a target nobody knows what is mounted there."""
    mode = EXPLAINED.name.lower() if options.fs_mode == "local" else options.fs_mode
    rows = explained(
        Rules(MODES[mode], _wishes(options), rules(options, caller).own, home=str(caller.home)), paths
    )
    screen.table(("PATH", "WHERE", "WHY"), rows)


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
