"""Which variables the app gets: the target's, without what describes its container, and the user's own on top.

Values pass through here and are never logged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from runner.errors import Refusal

CONTAINERS_OWN = (
    # Where things lie in the container: the image the app runs in knows better.
    "PATH",
    "HOME",
    "HOMEPATH",
    "PWD",
    "OLDPWD",
    "TMPDIR",
    "CLASSPATH",
    "JAVA_EXE",
    "JAVA_HOME",
    "PYTHONPATH",
    "GEM_HOME",
    "GEM_PATH",
    "RUBYLIB",
    # What changes how a program is run, not what it does: a debugger, a profiler or a bundle of the target's
    # would be loaded.
    "LD_*",
    "NODE_OPTIONS",
    "*_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "COMPlus_EnableDiagnostics",
    "RUBYOPT",
    "RUST_LOG",
    "BUNDLE_*",
    "BUNDLER_*",
    "MIRRORD_*",
    "MIRROR_RUN_*",
    # The terminal and the shell of the process.
    "TERM",
    "SHLVL",
    "_",
)
"""Not taken from the target unless named with --override-env-vars-include. mirrord's list, and the loader's."""

_NAME = re.compile(r"[^=\0]+")


@dataclass(frozen=True, slots=True)
class Chosen:
    """``variables`` are b"NAME=value" for the app; ``kept`` and ``left_out`` count the target's."""

    variables: tuple[bytes, ...]
    kept: int
    left_out: int


def patterns(text: str) -> tuple[str, ...]:
    """A list as mirrord writes it, names with wildcards (``*``, ``?``) between semicolons; commas will do."""
    return tuple(part.strip() for part in re.split("[;,]", text) if part.strip())


def configured(env: Iterable[str] | None) -> tuple[bytes, ...]:
    """What `docker inspect` says of a container's environment (``Config.Env``), as /proc/PID/environ would have it.

    For a process whose own is gone: one that sets its title (nginx, PostgreSQL) writes over that memory (proc(5)).
    """
    return tuple(variable.encode(errors="surrogateescape") for variable in env or ())


def choose(
    target: Sequence[bytes], own: Sequence[bytes], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Chosen:
    """The app's variables. ``own`` (from -e and --env-file) win; ``exclude`` beats ``include``; an exact name in
    ``include`` beats the list of what is the container's own."""
    found = dict(_split(variable) for variable in target)
    kept = {
        name: value
        for name, value in found.items()
        if _passes(name.decode(errors="replace"), include, exclude)
    }
    chosen = kept | dict(_split(variable) for variable in own)
    return Chosen(
        tuple(name + b"=" + value for name, value in chosen.items()),
        kept=len(kept),
        left_out=len(found) - len(kept),
    )


def given(env: Iterable[str], files: Iterable[str], callers: Mapping[str, str]) -> tuple[bytes, ...]:
    """The user's own: --env-file first, then -e. A name alone takes the caller's value, or is left out if
    there is none."""
    lines = [line for file in files for line in _lines(file)]
    variables = []
    for line in [*lines, *env]:
        name, equals, value = line.partition("=")
        if not _NAME.fullmatch(name) or name.strip() != name:
            raise Refusal(
                f"{line!r} is no variable for -e or --env-file", "write NAME=value, or NAME to pass your own"
            )
        if equals:
            variables.append(f"{name}={value}".encode(errors="surrogateescape"))
        elif name in callers:
            variables.append(f"{name}={callers[name]}".encode(errors="surrogateescape"))
    return tuple(variables)


def _lines(file: str) -> list[str]:
    try:
        text = Path(file).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise Refusal(f"--env-file {file}: {error.strerror}", "give a file with lines NAME=value") from error
    stripped = (line.lstrip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def _split(variable: bytes) -> tuple[bytes, bytes]:
    name, _, value = variable.partition(b"=")
    return name, value


def _passes(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    if any(fnmatchcase(name, pattern) for pattern in exclude):
        return False
    if name in include:
        return True
    if any(fnmatchcase(name, pattern) for pattern in CONTAINERS_OWN):
        return False
    return not include or any(fnmatchcase(name, pattern) for pattern in include)
