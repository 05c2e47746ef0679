"""$(NAME) in what a pod's spec says of its environment and its command, as the kubelet expands it.

Kubernetes API, EnvVar.value: "$$" is "$", so "$$(NAME)" stays "$(NAME)"; what is not known, or not closed, stays too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:(\$)|\(([^)]*)\))")


def expanded(text: str, known: Mapping[str, str]) -> str:
    """The text with the variables that are known."""

    def meant(found: re.Match[str]) -> str:
        if found[1]:
            return "$"
        return known.get(found[2], found[0])

    return _REFERENCE.sub(meant, text)
