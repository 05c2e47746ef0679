"""What `doctor` finds in clusters that a real one cannot be made into: old, out of time, with one right missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from runner.config import Caller, ClusterOptions
from runner.finding import Finding
from runner.kube import agent_rights
from runner.kube.agent_rights import Right
from runner.kube.examination import examine
from runner.kube.install_manifests import InstallOptions, manifests
from runner.kube.kinds import GROUP, RIGHTS, SESSIONS
from runner.kube.object_path import path_of
from runner.screen import Screen

from .memory import Memory

IMAGE = "mirror-run/agent:1"
EXECUTE = Right("create", "pods", subresource="exec")


class Server(Memory):
    """``denied``: what this user may not do. Nothing is installed, and one node has the image."""

    def __init__(self) -> None:
        super().__init__()
        self.version, self.server = "v1.35.0", "https://198.18.0.1"
        self.ahead = 0.0  # seconds, the server's clock
        self.denied: set[str] = {str(EXECUTE)}
        self.put("/api/v1/nodes/n1", _node("n1", IMAGE))

    async def whoami(self) -> str:
        return "anna"

    async def date(self) -> datetime | None:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    async def text(self, path: str) -> str:
        return " " * 1000

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        return {} if path == "/version" else await super().get(path, **query)

    async def allowed(
        self,
        verb: str,
        resource: str,
        *,
        namespace: str,
        group: str = "",
        subresource: str = "",
        name: str = "",
    ) -> bool:
        return str(Right(verb, resource, group, subresource)) not in self.denied

    def install(self, *, like_exec: bool = False) -> None:
        self.absent.discard("mirrorsessions")
        for one in manifests(InstallOptions(image=IMAGE, like_exec=like_exec)):
            self.put(path_of(one), one)


def _node(name: str, *images: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"images": [{"names": list(images)}]}}


@dataclass
class Found:
    findings: list[Finding] = field(default_factory=list)

    def of(self, words: str) -> Finding:
        (one,) = [one for one in self.findings if words in one.sentence]
        return one


async def found(server: Server, **options: Any) -> Found:
    said = ClusterOptions(namespace="shop", **{"agent_image": IMAGE, **options})
    caller = Caller(1, 1, "anna", Path("/nonexistent"), Path("/nonexistent"), "Linux", {})
    made = Found()
    async for one in examine(cast("Any", server), said, caller, None, Screen(quiet=True), probe=False):
        made.findings.append(one)
    return made


async def test_all_is_well() -> None:
    told = await found(Server())
    assert all(one.well for one in told.findings)
    assert told.of("clocks").sentence == "clocks: 0 s apart"
    assert (
        "v1.35.0 at https://198.18.0.1, context test, namespace shop, as anna" in told.of("cluster:").sentence
    )
    assert "on every node" in told.of("agent image").sentence
    assert "--probe" in told.of("tunnel").sentence


@pytest.mark.parametrize(("ahead", "side"), [(3600.0, "behind"), (-3600.0, "ahead")])
async def test_a_clock_that_is_wrong(ahead: float, side: str) -> None:
    server = Server()
    server.ahead = ahead
    told = (await found(server)).of("clocks")
    assert not told.well
    assert told.sentence.endswith(f"s apart: this machine's is {side}")
    assert "leases would lapse" in told.next_step


@pytest.mark.parametrize(
    ("version", "well", "says"),
    [("v1.24.3", False, "1.25 is the oldest"), ("v1.29.1+k3s1", True, "need 1.30"), ("v1.35.0", True, "")],
)
async def test_versions(version: str, well: bool, says: str) -> None:
    server = Server()
    server.version = version
    told = (await found(server)).of("cluster:")
    assert told.well == well
    assert says in told.next_step


@pytest.mark.parametrize(
    ("agent", "right"),
    [("job", one) for one in agent_rights.JOB] + [("ephemeral", one) for one in agent_rights.EPHEMERAL],
    ids=str,
)
async def test_each_verb_is_named_when_it_is_missing(agent: str, right: Right) -> None:
    server = Server()
    server.denied.add(str(right))
    told = (await found(server, agent=agent)).of("rights:")
    assert not told.well
    assert told.sentence.startswith(f"rights: you lack {right} in namespace shop")
    assert told.next_step


@pytest.mark.parametrize("right", [*agent_rights.SEE, *agent_rights.FORWARD, *agent_rights.HOLD], ids=str)
async def test_each_verb_that_installed_agents_need_is_named(right: Right) -> None:
    server = Server()
    server.install()
    server.denied.add(str(right))
    bad = [one.sentence for one in (await found(server)).findings if not one.well]
    assert any(f"you lack {right} in namespace" in one for one in bad), bad


@pytest.mark.parametrize("right", RIGHTS)
async def test_each_right_over_targets_is_named(right: str) -> None:
    """Only the first of them is a fault: a session does without the others."""
    server = Server()
    server.install()
    part = "" if right == "mirror" else right
    server.denied.add(str(Right("create", SESSIONS, GROUP, part)))
    told = (await found(server)).of("in shop: you lack create")
    assert told.well == (right != "mirror")
    assert f"you lack create {SESSIONS}{'/' if part else ''}{part}.{GROUP}" in told.sentence


async def test_who_may_execute_has_all_rights_where_that_was_installed() -> None:
    server = Server()
    server.install(like_exec=True)
    server.denied |= {str(Right("create", SESSIONS, GROUP, right)) for right in RIGHTS}
    assert not (await found(server)).of("no mirroring in shop").well
    server.denied.discard(str(EXECUTE))
    assert (await found(server)).of("all that a session may have in shop").well


@pytest.mark.parametrize(
    ("releases", "says", "next_step"),
    [
        (("6.1.0-18-amd64", "5.15.0-91-generic"), "kernels 5.15.0-91-generic, 6.1.0-18-amd64", ""),
        (("5.12.0", "5.4.0-26"), "stealing: n2 has 5.4.0-26", "Linux 5.12 is needed where one steals"),
        (("4.18.0-553.el8", ""), "stealing: n1 has 4.18.0-553.el8", "mirroring needs it not"),
    ],
)
async def test_kernels_that_can_be_stolen_from(releases: tuple[str, str], says: str, next_step: str) -> None:
    """No fault: who does not steal needs none of it."""
    server = Server()
    for number, release in enumerate(releases, start=1):
        node = _node(f"n{number}", IMAGE)
        node["status"]["nodeInfo"] = {"kernelVersion": release}
        server.put(f"/api/v1/nodes/n{number}", node)
    told = (await found(server)).of("stealing:")
    assert told.well
    assert says in told.sentence
    assert next_step in told.next_step
    assert bool(told.next_step) == bool(next_step)


async def test_an_image_that_no_registry_is_named_for() -> None:
    server = Server()
    server.put("/api/v1/nodes/n2", _node("n2"))
    told = (await found(server)).of("agent image")
    assert not told.well
    assert "not on n2" in told.sentence
    assert "mirror-run images push" in told.next_step
    assert (await found(server, agent_image="registry.example/agent:1")).of("agent image").well


async def test_a_node_that_has_more_images_than_it_tells_of() -> None:
    server = Server()
    server.put("/api/v1/nodes/n1", _node("n1"))
    server.objects["/api/v1/nodes/n1"]["status"]["images"] = [{"names": [f"other:{n}"]} for n in range(50)]
    told = (await found(server)).of("agent image")
    assert told.well
    assert "not among the 50 images that n1 tells of" in told.sentence


async def test_installed_agents_are_wanted_and_there_are_none() -> None:
    told = (await found(Server(), agent="daemonset")).of("none is installed")
    assert (told.well, told.next_step) == (False, "`mirror-run install`")
