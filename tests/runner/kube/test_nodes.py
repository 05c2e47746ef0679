"""Nodes are asked for once each, and none where the caller may read none."""

from __future__ import annotations

from runner.kube.nodes import Nodes
from tests.runner.kube.memory import Memory

NAMES = [f"n{number}" for number in range(25)]


def cluster() -> Memory:
    made = Memory()
    for name in NAMES[:-1]:  # the last has gone meanwhile
        made.put(f"/api/v1/nodes/{name}", {"metadata": {"name": name}})
    return made


async def test_each_is_asked_for_once() -> None:
    api = cluster()
    nodes = Nodes(api)  # type: ignore[arg-type]
    await nodes.fetch([*NAMES, *NAMES, ""])
    found = [await nodes.read(name) for name in NAMES]
    assert [one is not None for one in found] == [True] * 24 + [False]
    assert sorted(api.asked) == sorted(f"/api/v1/nodes/{name}" for name in NAMES)


async def test_where_none_may_be_read_one_question_is_enough() -> None:
    api = cluster()
    api.forbidden.add("nodes")
    nodes = Nodes(api)  # type: ignore[arg-type]
    await nodes.fetch(NAMES)
    assert [await nodes.read(name) for name in NAMES] == [None] * 25
    assert len(api.asked) == 1
