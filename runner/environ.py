"""Which variables the app gets: the target's, without what describes its container, and the user's own on top.

Values pass through here and are never logged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from runner.errors import Refusal
from wire.record import record

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


@record
class Wishes:
    """Which of the target's variables are wanted, by names with wildcards (``*``, ``?``), and what becomes of them.

    ``mapped``: a name that a pattern matches whole gets its value, in which ``\\1`` is the pattern's first group.
    ``unset``: the app does not have these, not even from its own image.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    mapped: tuple[tuple[re.Pattern[str], str], ...] = ()
    unset: tuple[str, ...] = ()


NOTHING_WISHED = Wishes()


@record
class Chosen:
    """``variables`` are b"NAME=value" for the app, or b"NAME" for one that it is not to have; ``kept`` and ``left_out``
    count the target's."""

    variables: tuple[bytes, ...]
    kept: int
    left_out: int


def wishes(
    include: str = "", exclude: str = "", mappings: Iterable[str] = (), unset: Iterable[str] = ()
) -> Wishes:
    """What was written. Refusal: two of them contradict each other, or one is no pattern."""
    if include and exclude:
        raise Refusal(
            "--override-env-vars-include and --override-env-vars-exclude cannot both be given:"
            " the first leaves out all that it does not name already",
            "name what is wanted, or what is not, in one of them",
        )
    names = tuple(name for text in unset for name in patterns(text))
    return Wishes(patterns(include), patterns(exclude), tuple(map(_mapping, mappings)), names)


def patterns(text: str) -> tuple[str, ...]:
    """A list as mirrord writes it, names with wildcards (``*``, ``?``) between semicolons; commas will do."""
    return tuple(part.strip() for part in re.split("[;,]", text) if part.strip())


def _anything(pattern: str) -> re.Match[str]:
    """A match with this pattern's groups, all of them empty: what a value may name."""
    match = re.compile(f"(?:{pattern})?").match("")
    assert match is not None  # everything in it is optional
    return match


def _mapping(text: str) -> tuple[re.Pattern[str], str]:
    pattern, equals, value = text.partition("=")
    why: object = "" if pattern and equals else "there is no pattern, or no '='"
    try:
        compiled = re.compile(pattern)
        _anything(pattern).expand(value)
    except (re.error, IndexError) as error:
        why = error
    if why:
        raise Refusal(
            f"--map-env {text!r}: {why}",
            r"write PATTERN=VALUE, as '.+_TIMEOUT=10000' or '(.+)_URL=http://\1.test'",
        )
    return compiled, value


def configured(env: Iterable[str] | None) -> tuple[bytes, ...]:
    """What `docker inspect` says of a container's environment (``Config.Env``), as /proc/PID/environ would have it.

    For a process whose own is gone: one that sets its title (nginx, PostgreSQL) writes over that memory (proc(5)).
    """
    return tuple(variable.encode(errors="surrogateescape") for variable in env or ())


def choose(
    target: Sequence[bytes],
    own: Sequence[bytes],
    wanted: Wishes = NOTHING_WISHED,
    images: Iterable[bytes] = (),
) -> Chosen:
    """The app's variables. ``own`` (from -e and --env-file) win; what is unset is out, of ``images`` (what the app's
    image has by itself) too; an exact name that is included beats the list of what is the container's own.
    """
    found = dict(_split(variable) for variable in target)
    kept = {
        name: _mapped(name, value, wanted)
        for name, value in found.items()
        if _passes(_text(name), wanted.include, wanted.exclude) and not _matches(_text(name), wanted.unset)
    }
    users = dict(_split(variable) for variable in own)
    out = {
        name
        for name in (*found, *(_split(variable)[0] for variable in images))
        if _matches(_text(name), wanted.unset) and name not in users
    }
    return Chosen(
        (*sorted(out), *(name + b"=" + value for name, value in (kept | users).items())),
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


def _text(octets: bytes) -> str:
    """Names and values need not be UTF-8, and come out of it as they went in."""
    return octets.decode(errors="surrogateescape")


def _mapped(name: bytes, value: bytes, wanted: Wishes) -> bytes:
    for pattern, becomes in wanted.mapped:
        if match := pattern.fullmatch(_text(name)):
            return match.expand(becomes).encode(errors="surrogateescape")
    return value


def _matches(name: str, among: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in among)


def _split(variable: bytes) -> tuple[bytes, bytes]:
    name, _, value = variable.partition(b"=")
    return name, value


def _passes(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    if _matches(name, exclude):
        return False
    if name in include:
        return True
    if _matches(name, CONTAINERS_OWN):
        return False
    return not include or _matches(name, include)
