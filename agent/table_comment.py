"""Whose a gate's table is, in the words that stand in it: for other agents' users, for `mirror-run ps` and for whoever
lists the rules. Pure.

nft keeps few octets of a comment, and names may be long: what does not fit is cut of the longest, where least is lost.
"""

from __future__ import annotations

MOST = 120
"""Octets (nft's own limit is 128, its end included)."""

INSTALLED = "the installed agent"
"""What kind of agent that is; others are told how they can steal beside it."""

CUT = ".."


def stolen(of: str, who: str, since: str, session: str, kind: str) -> str:
    """``of``: what the target is called; ``since``: the wall clock; ``kind``: of agent, or ""."""
    behind = f", {kind}" if kind else ""
    of, who, session = _fitted([of, who, session], MOST - _octets(f" is stolen by  since {since} (session {behind})"))
    return f"{of} is stolen by {who} since {since} (session {session}{behind})"


def looked_at(of: str, who: str, session: str) -> str:
    """Of a table that is there for a moment, to see whether it can be."""
    of, who, session = _fitted([of, who, session], MOST - _octets(" is looked at by  (session )"))
    return f"{of} is looked at by {who} (session {session})"


def in_the_way(theirs: str) -> str:
    """What is said to who meets another agent's table: those words, and how several can steal at once."""
    if INSTALLED in theirs:
        return f"{theirs}; several at once have to come by it: leave out --agent"
    return f"{theirs}; several at once need `mirror-run install`"


def _fitted(names: list[str], room: int) -> list[str]:
    """Target and author keep their beginnings, the session's name (the last) its end, which is what tells it apart."""
    kept = list(names)
    while sum(map(_octets, kept)) > room:
        at = max(range(len(kept)), key=lambda n: _octets(kept[n]))
        bare = kept[at].removeprefix(CUT) if at == len(kept) - 1 else kept[at].removesuffix(CUT)
        kept[at] = f"{CUT}{bare[1:]}" if at == len(kept) - 1 else f"{bare[:-1]}{CUT}"
    return kept


def _octets(text: str) -> int:
    return len(text.encode())
