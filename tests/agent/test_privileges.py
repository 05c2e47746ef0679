"""The capabilities that the agent asks for are those that its code says it uses, and those that its container gets."""

from __future__ import annotations

import re
from pathlib import Path

from agent import capabilities
from runner import plan
from runner.kube import manifests

AGENT = Path(__file__).resolve().parents[2] / "agent"
SAID = re.compile(r"(?:/\*|#) ?privileged CAP_(\w+): \S")


def said(folder: Path = AGENT) -> dict[str, list[str]]:
    """Capability: the files whose comments say what they use it for."""
    found: dict[str, list[str]] = {}
    for path in sorted([*folder.glob("*.c"), *folder.glob("*.py")]):
        for name in SAID.findall(path.read_text()):
            found.setdefault(name, []).append(path.name)
    return found


def test_each_has_a_reason_and_each_reason_a_capability() -> None:
    assert set(said()) == set(capabilities.NEEDED)


def test_the_container_gets_them_and_no_more() -> None:
    assert set(plan.AGENT_CAPABILITIES) == set(capabilities.NEEDED)


def test_those_for_files_too() -> None:
    assert set(said(AGENT / "files")) - set(capabilities.NEEDED) == set(capabilities.FOR_FILES)
    assert set(plan.AGENT_FILES_CAPABILITIES) == set(capabilities.FOR_FILES)


def test_the_one_that_is_for_entering_is_used_where_namespaces_are_entered() -> None:
    assert said()[capabilities.TO_ENTER] == ["netns.c"]
    assert {*manifests.BESIDE, capabilities.TO_ENTER} == set(capabilities.NEEDED)


def test_only_one_file_enters_namespaces() -> None:
    users = [path.name for path in sorted(AGENT.glob("*.c")) if re.search(r"\bsetns\(", path.read_text())]
    assert users == ["netns.c"]
