"""Hypothesis strategies for every message, made from the same annotations as the codec."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from hypothesis import strategies as st

from wire.frames import BY_TAG
from wire.kinds import Octets, Text, Whole
from wire.messages import Message

# Bodies are kept short: lengths at the bounds have examples of their own in test_frames.
SHORT = 40


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value that an annotation allows."""
    if typing.get_origin(hint) is typing.Annotated:
        match hint.__metadata__[0]:
            case Whole(low, high):
                return st.integers(low, high) | st.sampled_from([low, high])
            case Text(limit):
                letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
                return st.text(letters, max_size=min(limit // 4, SHORT))
            case Octets(_, lengths) if lengths:
                return st.sampled_from(lengths).flatmap(lambda n: st.binary(min_size=n, max_size=n))
            case Octets(limit):
                return st.binary(max_size=min(limit, SHORT))
    if hint is bool:
        return st.booleans()
    if typing.get_origin(hint) is tuple:
        return st.lists(values(typing.get_args(hint)[0]), max_size=4).map(tuple)
    return instances(hint)


def instances(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Any instance of a message or part."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return st.builds(cls, **{field.name: values(hints[field.name]) for field in dataclasses.fields(cls)})


def messages() -> st.SearchStrategy[Message]:
    """Any message at all."""
    return st.one_of([instances(cls) for _, cls in sorted(BY_TAG.items())])


def plain() -> st.SearchStrategy[Any]:
    """Any value that msgpack can write, messages or not."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False)
        | st.binary(max_size=70)
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    )
    flat = st.lists(leaves, max_size=4)
    return leaves | flat | st.lists(leaves | flat, max_size=3) | st.dictionaries(st.just("a"), leaves)
