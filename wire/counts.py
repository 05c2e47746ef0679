"""What two notices that count say together: of one port, by two containers or before and after a pause. Pure."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

from wire.messages import Chosen, Stolen

Count = TypeVar("Count", Chosen, Stolen)

WHOSE = ("target", "port")


def added(one: Count | None, other: Count) -> Count:
    """The sum of each number. Whose it is is ``other``'s; of words the later ones, where there are any."""
    if one is None:
        return other
    both: dict[str, Any] = {}
    for name in (field.name for field in fields(other) if field.name not in WHOSE):
        before, after = getattr(one, name), getattr(other, name)
        both[name] = before + after if isinstance(after, int) else after or before
    return replace(other, **both)
