"""What ``--steal`` and filters ask of an agent: options in, one message out, and the same in words. Pure.

A regular expression that Python cannot read is refused here, before anything starts; the agent has the last word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Protocol

from runner.errors import Refusal
from wire.messages import Choose, Condition, Filter, Probe, Steal
from wire.record import record

HEADER, PATH, METHOD = 0, 1, 2

ON_APP_GONE = ("target", "502", "reset")
"""By the number that stands for it."""

LET_GO_WITHIN = 3.0
"""Seconds in which the app may answer what it was given, at the end of a run."""


class Asked(Protocol):
    """Of ``runner.config.RunOptions``."""

    @property
    def steal(self) -> bool: ...
    @property
    def http_headers(self) -> tuple[str, ...]: ...
    @property
    def http_paths(self) -> tuple[str, ...]: ...
    @property
    def http_methods(self) -> tuple[str, ...]: ...
    @property
    def http_filters(self) -> tuple[str, ...]: ...
    @property
    def steal_existing(self) -> bool: ...
    @property
    def steal_probes(self) -> bool: ...
    @property
    def steal_local(self) -> bool: ...
    @property
    def mesh_uids(self) -> tuple[int, ...]: ...
    @property
    def on_app_gone(self) -> str: ...
    @property
    def on_link_lost_after(self) -> float: ...
    @property
    def drain(self) -> float: ...


def wish(asked: Asked, nodes: Sequence[bytes] = (), probes: Sequence[Probe] = ()) -> Steal | Choose | None:
    """What is to be stolen, or chosen of what is mirrored. None: everything is mirrored. ``nodes``: addresses of the
    target's nodes; ``probes``: its own. Refusal."""
    filters = _filters(asked)
    if not asked.steal:
        for name in ("steal_existing", "steal_probes", "steal_local", "mesh_uids"):
            if getattr(asked, name):
                option = name.replace("_", "-").removesuffix("s" if name == "mesh_uids" else "")
                raise Refusal(f"--{option} is about what is stolen", "add --steal")
        return Choose(0, filters) if filters else None
    return Steal(
        call=0,
        filters=filters,
        on_app_gone=ON_APP_GONE.index(asked.on_app_gone),
        link_lost_after=round(asked.on_link_lost_after * 1000),
        drain=round(asked.drain),
        steal_probes=asked.steal_probes,
        steal_local=asked.steal_local,
        steal_existing=asked.steal_existing,
        nodes=tuple(nodes),
        probes=tuple(probes),
        mesh_uids=asked.mesh_uids,
    )


def filtered(asked: Asked) -> bool:
    """Whether requests are chosen, of what is stolen or mirrored."""
    return bool(_alternatives(asked))


def described(asked: Asked) -> str:
    """Which requests, as it stands behind "stealing 8080 of cart": "" for all."""
    said = [" and ".join(_said(one)) for one in _alternatives(asked)]
    return f"requests where {', or '.join(said)}" if said else ""


@record
class _Wanted:
    """Of a request, all of it."""

    headers: tuple[str, ...]
    paths: tuple[str, ...]
    methods: tuple[str, ...]


def _said(one: _Wanted) -> list[str]:
    said = [f"a header matches {regex}" for regex in one.headers]
    said += [f"the path matches {regex}" for regex in one.paths]
    if one.methods:
        said.append(f"the method is {' or '.join(method.upper() for method in one.methods)}")
    return said


def _alternatives(asked: Asked) -> list[_Wanted]:
    """Any of which is enough: what --http-header, -path and -method ask for together, and each --http-filter."""
    plain = _Wanted(asked.http_headers, asked.http_paths, asked.http_methods)
    several = [_structured(text) for text in asked.http_filters]
    return [plain, *several] if plain != _Wanted((), (), ()) else several


def _structured(text: str) -> _Wanted:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Refusal(f"--http-filter {text!r} is no JSON: {error}", _AS_FILTER) from error
    if not isinstance(found, dict) or not found or found.keys() - {"header", "path", "method"}:
        raise Refusal(f"--http-filter {text!r} is no mapping of header, path and method", _AS_FILTER)
    parts = {key: value if isinstance(value, list) else [value] for key, value in found.items()}
    if not all(isinstance(one, str) for part in parts.values() for one in part):
        raise Refusal(f"--http-filter {text!r} has something that is no text", _AS_FILTER)
    return _Wanted(*(tuple(parts.get(key, ())) for key in ("header", "path", "method")))


_AS_FILTER = """write it as {"header": "^x-user: anna$", "path": "^/api", "method": "GET"}"""


def _filters(asked: Asked) -> tuple[Filter, ...]:
    return tuple(Filter(_conditions(one)) for one in _alternatives(asked))


def _conditions(one: _Wanted) -> tuple[Condition, ...]:
    """All of them must hold; a request has one method, so of several any does."""
    found = [Condition(HEADER, _checked("--http-header", text)) for text in one.headers]
    found += [Condition(PATH, _checked("--http-path", text)) for text in one.paths]
    methods = [_method(text) for text in one.methods]
    if methods:
        found.append(Condition(METHOD, f"^(?:{'|'.join(methods)})$"))
    return tuple(found)


def _checked(option: str, text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        where = f" at character {error.pos + 1}" if error.pos is not None else ""
        raise Refusal(
            f"{option} {text!r} is no regular expression: {error.msg}{where}",
            "a \\ before a character takes it as it is",
        ) from error
    if strange := _not_re2(text):
        raise Refusal(
            f"{option} {text!r} {strange}, which could take a time that grows without bound",
            "write it without: the agent's are RE2's (github.com/google/re2/wiki/Syntax)",
        )
    if not text:
        raise Refusal(f"{option} is empty, and so matches everything", "leave it out to have everything")
    return text


_LOOKS_AROUND = re.compile(r"\(\?(?:[=!>]|<[=!]|\()")
_REFERS_BACK = re.compile(r"\\[1-9]|\(\?P=")


def _not_re2(text: str) -> str:
    """What in it no engine of bounded time has; ""."""
    bare = re.sub(r"\\[^1-9]", "", text, flags=re.DOTALL)  # what is taken as it is
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "", bare)  # nothing in a class is more than a character
    if _LOOKS_AROUND.search(bare):
        return "looks around"
    return "refers back to a group" if _REFERS_BACK.search(bare) else ""


def _method(text: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text):  # RFC 9110, 5.6.2: a token
        raise Refusal(f"--http-method {text!r} is no method", "for example --http-method POST")
    return re.escape(text.upper())
