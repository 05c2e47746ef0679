"""$(NAME) in what a pod's spec says of its environment and its command, as the kubelet expands it.

Kubernetes API, EnvVar.value: "$$" is "$", so "$$(NAME)" stays "$(NAME)"; what is not known, or not closed, stays too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_REFERENCE = re.compile(r"\$(?:(\$)|\(([^)]*)\))")


def expanded(text: str, known: Mapping[str, str]) -> str:
    """The text with the variables that are known."""

    def meant(found: re.Match[str]) -> str:
        if found[1]:
            return "$"
        return known.get(found[2], found[0])

    return _REFERENCE.sub(meant, text)


def of_words(words: Iterable[str], variables: Iterable[bytes]) -> tuple[str, ...]:
    """A command's words, with variables as /proc/PID/environ has them (b"NAME=value")."""
    pairs = (one.decode(errors="surrogateescape").partition("=") for one in variables)
    known = {name: value for name, _, value in pairs}
    return tuple(expanded(word, known) for word in words)
