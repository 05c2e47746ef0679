"""Which rights a run would use, and which of them its command line asks for. Pure.

A right that nobody asked for may be missing: its part is switched off, and said. An option that is nothing without a
right asks for it, and is refused without it: a run that quietly does less than was written down is worse than none.
"""

from __future__ import annotations

from collections.abc import Callable

from runner import stealing
from runner.config import RunOptions
from runner.files import asked
from runner.kube.rights import Wish
from wire.messages import FilesMode

ALWAYS = ("mirror", "outgoing", "env")
"""What a session uses that nobody asked anything of; files too, unless `--fs-mode local` leaves them."""


def _chooses(options: RunOptions) -> bool:
    return stealing.filtered(options) and not options.steal


ASKS: tuple[tuple[str, str, Callable[[RunOptions], bool]], ...] = (
    ("mirror", "--map-port", lambda options: bool(options.map_ports)),
    ("mirror", "--http-header, --http-path, --http-method or --http-filter", _chooses),
    ("steal", "--steal", lambda options: options.steal),
    ("env", "--override-env-vars-include", lambda options: bool(options.env_include)),
    ("env", "--override-env-vars-exclude", lambda options: bool(options.env_exclude)),
    ("env", "--map-env", lambda options: bool(options.env_mapped)),
    ("files", "--fs-mode", lambda options: options.fs_mode not in ("", "local")),
    ("files", "the rules for files", lambda options: asked.named(options) and options.fs_mode == ""),
    ("files-write", "--fs-mode write", lambda options: options.fs_mode == "write"),
    ("files-write", "--fs-read-write", lambda options: asked.served(options) == FilesMode.WRITE),
)
"""Right, the option that asks for it, and whether it was given. `-e` and `--env-file` are the user's own variables and
ask for nothing of the target's; no option asks for connections from the target."""


def wishes(options: RunOptions) -> tuple[Wish, ...]:
    """Of a run with these options, each right once."""
    named = {right: option for right, option, given in reversed(ASKS) if given(options)}
    always = (*ALWAYS, "files") if asked.served(options) != FilesMode.NONE else ALWAYS
    rights = [*always, *(right for right in named if right not in always)]
    return tuple(Wish(right, asked=right in named, option=named.get(right, "")) for right in rights)
