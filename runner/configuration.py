"""The configuration file: options of ``run`` written down beside the project, as defaults of the command line.

A mapping in YAML, JSON or TOML, whose keys are the long options without their dashes (``target: deploy/cart``); what is
given on the command line wins. Knows no option by name: which there are, and of what kind, click's own parameters say.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from runner.errors import Refusal
from wire.record import record

NAMES = (".mirror-run.yaml", ".mirror-run.yml", ".mirror-run.json", ".mirror-run.toml")
"""Looked for, in this order, in the working directory and those above it, to the root of the git work tree."""

OPTION = "config-file"

BIGGEST = 1024 * 1024
"""Octets of a file at most: one that is longer was named by mistake."""


@record
class Configuration:
    """``values`` by the parameter's name, as click's ``default_map`` wants them; ``path`` is where they were read."""

    path: Path
    values: Mapping[str, Any]


def find(cwd: Path, home: Path) -> Path | None:
    """The nearest one. Outside a work tree only the working directory is looked into, and nowhere above HOME: what
    lies in /tmp or in a home is another's project.
    """
    for folder in (cwd, *cwd.parents):
        for name in NAMES:
            if (folder / name).is_file():
                return folder / name
        if (folder / ".git").exists() or folder == home:
            return None
        if not any((above / ".git").exists() for above in folder.parents):
            return None
    return None


def read(path: Path, parameters: Iterable[click.Parameter]) -> Configuration:
    """The file's options. Refusal: it cannot be read, or says what no option can mean."""
    options = {
        name.removeprefix("--"): parameter
        for parameter in parameters
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--") and name != f"--{OPTION}"
    }
    values: dict[str, Any] = {}
    for key, value in _mapping(path).items():
        option = options.get(key)
        if option is None or option.name is None:
            raise Refusal(f"{path}: {key!r} is no option of `mirror-run run`", _likely(key, options))
        if option.name in values:
            raise Refusal(f"{path}: {key!r} is said twice, by another of its names", "keep one of them")
        said = _value(path, key, value, option)
        values[option.name] = not said if f"--{key}" in option.secondary_opts else said
    return Configuration(path, values)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            octets = file.read(BIGGEST + 1)
    except OSError as error:
        raise Refusal(f"--{OPTION} {path}: {error.strerror}", "name a file that is there") from error
    if len(octets) > BIGGEST:
        raise Refusal(
            f"{path} is longer than {BIGGEST // 1024} KiB", f"is it the file that --{OPTION} is meant for?"
        )
    try:
        found = _parsed(path.suffix, octets.decode())
    except ValueError as error:  # of UTF-8 too
        raise Refusal(f"{path} cannot be read: {error}", "mend it there") from error
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise Refusal(
            f"{path} is no mapping of options", "write `option: value` lines, as `target: deploy/cart`"
        )
    return found


def _parsed(suffix: str, text: str) -> Any:
    """ValueError for what is none. The parsers are imported where there is something to parse."""
    match suffix:
        case ".toml":
            import tomllib

            return tomllib.loads(text)
        case ".json":
            return json.loads(text)
        case _:
            import yaml

            try:
                return yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ValueError(str(error)) from error


def _value(path: Path, key: str, value: Any, option: click.Option) -> Any:
    """In the shape that the option takes from a command line; click converts and checks it as it does there."""
    if getattr(option.type, "structured", False):
        return [json.dumps(one) for one in (value if isinstance(value, list) else [value])]
    if option.multiple:
        return [_word(path, key, one) for one in _many(value)]
    if option.is_flag or option.secondary_opts:
        if not isinstance(value, bool):
            raise Refusal(f"{path}: {key} is {value!r}", "it is true or false")
        return value
    return _word(path, key, value)


def _many(value: Any) -> list[Any]:
    """A list; a mapping is one of NAME=value words, with null for a NAME alone; a single word is a list of one."""
    if isinstance(value, dict):
        return [name if text is None else f"{name}={_plain(text)}" for name, text in value.items()]
    return list(value) if isinstance(value, list) else [value]


def _word(path: Path, key: str, value: Any) -> str:
    if value is None or isinstance(value, list | dict):
        raise Refusal(
            f"{path}: {key} has {value!r}, where one word belongs", "write it as on the command line"
        )
    return _plain(value)


def _plain(value: Any) -> str:
    """As one would have typed it: YAML's true is "true"."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _likely(key: str, options: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(options), 1)
    return f"did you mean {near[0]!r}?" if near else "`mirror-run run --help` lists them"
