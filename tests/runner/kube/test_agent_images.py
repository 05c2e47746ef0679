"""The agent's image: what it is called where, and what is said of a push, a file, a node. The engine is a fake one."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner import VERSION, images
from runner.errors import Refusal
from runner.kube import agent_images, image_nodes
from runner.kube.agent_images import Name

IMAGE = "mirror-run/agent:0123456789ab"
TAG = f"{VERSION}-0123456789ab"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("agent", Name("", "agent")),
        ("mirror-run/agent:1", Name("", "mirror-run/agent", "1")),
        ("registry:5000/a/b:1", Name("registry:5000", "a/b", "1")),
        ("r.example/a@sha256:00", Name("r.example", "a", "", "sha256:00")),
        ("localhost/a:1@sha256:00", Name("localhost", "a", "1", "sha256:00")),
    ],
)
def test_a_reference_is_taken_apart_and_put_together(text: str, name: Name) -> None:
    assert agent_images.parsed(text) == name
    assert str(name) == text


def test_which_image_agents_are_made_from() -> None:
    ours = images.names().agent
    tag = f"{VERSION}-{ours.partition(':')[2]}"
    assert agent_images.reference("", {}) == ours
    assert agent_images.reference("", {agent_images.VARIABLE: "r.example/a:7"}) == "r.example/a:7"
    assert (
        agent_images.reference("r.example/b:8", {agent_images.VARIABLE: "r.example/a:7"}) == "r.example/b:8"
    )
    assert agent_images.reference("r.example/b@sha256:00", {}) == "r.example/b@sha256:00"
    assert agent_images.reference("r.example:5000/b", {}) == f"r.example:5000/b:{tag}"


@pytest.mark.parametrize(
    ("where", "to"),
    [
        ("r.example", f"r.example/mirror-run-agent:{TAG}"),
        ("r.example:5000", f"r.example:5000/mirror-run-agent:{TAG}"),
        ("r.example/", f"r.example/mirror-run-agent:{TAG}"),
        ("r.example/tools", f"r.example/tools/mirror-run-agent:{TAG}"),
        ("r.example/tools/mirror-run-agent", f"r.example/tools/mirror-run-agent:{TAG}"),
        ("r.example/tools/agent:7", "r.example/tools/agent:7"),
        ("anna", f"docker.io/anna/mirror-run-agent:{TAG}"),
        ("localhost", f"localhost/mirror-run-agent:{TAG}"),
    ],
)
def test_where_a_push_goes(where: str, to: str) -> None:
    assert str(agent_images.destination(where, IMAGE)) == to


@pytest.mark.parametrize("where", ["", "/", "https://r.example/a", "r.example/a@sha256:00"])
def test_what_is_no_place_to_push_to(where: str) -> None:
    with pytest.raises(Refusal, match="is no REGISTRY"):
        agent_images.destination(where, IMAGE)


class FakeEngine:
    """``says`` is what a push answers; ``programs`` what an exec does: (argv, stdin) to (code, output)."""

    def __init__(self) -> None:
        self.tags: set[str] = {IMAGE}
        self.pushed: list[tuple[str, str]] = []
        self.says: list[dict[str, Any]] = [
            {"status": "Pushing", "id": "a", "progressDetail": {"current": 30_000_000, "total": 30_000_000}},
            {"progressDetail": {}, "aux": {"Tag": TAG, "Digest": "sha256:abcd", "Size": 1}},
        ]
        self.archive = [b"one", b"two"]
        self.programs: Callable[[list[str], bytes], tuple[int, bytes]] = lambda argv, stdin: (0, b"")
        self._execs: dict[str, tuple[str, list[str], bool]] = {}
        self._codes: dict[str, int] = {}
        self.threads: list[threading.Thread] = []

    def tag(self, image: str, repository: str, tag: str) -> bool:
        assert image in self.tags
        self.tags.add(f"{repository}:{tag}")
        return True

    def remove_image(self, reference: str) -> None:
        self.tags.remove(reference)

    def push(self, repository: str, tag: str, *, stream: bool, decode: bool) -> Iterator[dict[str, Any]]:
        assert stream
        assert decode
        assert f"{repository}:{tag}" in self.tags
        self.pushed.append((repository, tag))
        yield from self.says

    def get_image(self, image: str) -> Iterator[bytes]:
        yield from self.archive

    def exec_create(self, container: str, argv: list[str], *, stdin: bool) -> dict[str, str]:
        self._execs[name := f"exec{len(self._execs)}"] = (container, argv, stdin)
        return {"Id": name}

    def exec_start(self, name: str, *, socket: bool) -> Any:
        assert socket
        ours, given = _pair()
        theirs = given.makefile("rwb", buffering=0)  # as the SDK gives it; the last that holds the socket
        given.close()
        thread = threading.Thread(target=self._run, args=(name, ours))
        self.threads.append(thread)
        thread.start()
        return theirs

    def exec_inspect(self, name: str) -> dict[str, int]:
        return {"ExitCode": self._codes[name]}

    def _run(self, name: str, sock: socket.socket) -> None:
        _, argv, wants = self._execs[name]
        with sock:
            fed = b""
            while wants and (octets := sock.recv(65_536)):
                fed += octets
            self._codes[name], said = self.programs(argv, fed)
            half = len(said) // 2
            for stream, part in ((1, said[:half]), (2, said[half:])):
                sock.sendall(struct.pack(">B3xI", stream, len(part)) + part)


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


def test_a_push_is_told_by_its_digest_and_leaves_no_name_behind() -> None:
    engine = FakeEngine()
    said: list[str] = []
    to = agent_images.destination("r.example/tools", IMAGE)
    pushed = agent_images.push(engine, IMAGE, to, said.append)
    assert str(pushed) == f"r.example/tools/mirror-run-agent:{TAG}@sha256:abcd"
    assert engine.pushed == [("r.example/tools/mirror-run-agent", TAG)]
    assert engine.tags == {IMAGE}
    assert said == ["pushing to r.example", "pushing to r.example: 30 MB"]


@pytest.mark.parametrize(
    ("error", "next_step"),
    [
        ("denied: requested access to the resource is denied", "docker login r.example"),
        ("unauthorized: authentication required", "docker login r.example"),
        ("no basic auth credentials", "docker login r.example"),
        ("http: server gave HTTP response to HTTPS client", "insecure-registries"),
        ('Get "https://r.example/v2/": dial tcp: lookup r.example: no such host', "can the engine's machine"),
    ],
)
def test_what_a_registry_refuses(error: str, next_step: str) -> None:
    engine = FakeEngine()
    engine.says = [{"status": "x"}, {"error": error}]
    with pytest.raises(Refusal) as refusal:
        agent_images.push(engine, IMAGE, agent_images.destination("r.example", IMAGE), lambda text: None)
    assert error in refusal.value.what
    assert next_step in refusal.value.next_step
    assert engine.tags == {IMAGE}


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "agent.tar"
    assert agent_images.save(FakeEngine(), IMAGE, str(path), lambda text: None) == 6
    assert path.read_bytes() == b"onetwo"


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="No such file or directory"):
        agent_images.save(FakeEngine(), IMAGE, str(tmp_path / "no" / "agent.tar"), lambda text: None)


def test_half_a_file_is_none(tmp_path: Path) -> None:
    engine = FakeEngine()

    def broken() -> Iterator[bytes]:
        yield b"one"
        raise ConnectionResetError

    engine.get_image = lambda image: broken()  # type: ignore[method-assign]
    path = tmp_path / "agent.tar"
    with pytest.raises(ConnectionResetError):
        agent_images.save(engine, IMAGE, str(path), lambda text: None)
    assert not path.exists()


# --- nodes ----------------------------------------------------------------------------------------------------------


class FakeNodes:
    """`runner.engine.Engine`, with containers that are nodes."""

    def __init__(self) -> None:
        self.api = FakeEngine()
        self.has_image = True
        self.names = {
            "io.x-k8s.kind.cluster": ["/kind-worker"],
            "app=k3d": ["/k3d-a-server-0"],
            "name.minikube.sigs.k8s.io": ["/minikube"],
        }
        self.loaded: list[tuple[str, bytes]] = []
        self.missing = True

    async def containers(self, *labels: str) -> list[dict[str, Any]]:
        return [
            {"Names": [name], "Id": f"id-of-{name[1:]}"} for label in labels for name in self.names[label]
        ]

    async def inspect_image(self, image: str) -> dict[str, Any]:
        if not self.has_image:
            raise image_nodes.EngineError("no such image", 404)
        return {"Id": "x"}

    async def work(self, what: str, task: Callable[[Any], Any]) -> Any:
        found = task(self.api)
        for thread in self.api.threads:
            thread.join()
        return found


async def test_nodes_of_this_engine_are_known_by_their_names() -> None:
    assert await image_nodes.node_containers(FakeNodes()) == {  # type: ignore[arg-type]
        "kind-worker": "id-of-kind-worker",
        "k3d-a-server-0": "id-of-k3d-a-server-0",
        "minikube": "id-of-minikube",
    }


async def test_a_node_without_the_image_gets_it_and_others_are_left_alone() -> None:
    engine = FakeNodes()
    ran: list[tuple[str, bytes]] = []

    def program(argv: list[str], stdin: bytes) -> tuple[int, bytes]:
        ran.append((argv[2], stdin))
        return (1 if argv[2] == image_nodes.HAS else 0), b"loaded"

    engine.api.programs = program
    said: list[str] = []
    await image_nodes.provide(engine, IMAGE, ["kind-worker", "elsewhere"], said.append)  # type: ignore[arg-type]
    assert ran == [(image_nodes.HAS, b""), (image_nodes.LOAD, b"onetwo")]
    assert said == [f"loading {IMAGE} into node kind-worker, a container of this engine"]


async def test_a_node_that_has_it_is_left_alone() -> None:
    engine = FakeNodes()
    ran: list[list[str]] = []

    def program(argv: list[str], stdin: bytes) -> tuple[int, bytes]:
        ran.append(argv)
        return 0, b""

    engine.api.programs = program
    await image_nodes.provide(engine, IMAGE, ["minikube"], lambda text: None)  # type: ignore[arg-type]
    assert ran == [["sh", "-c", image_nodes.HAS, IMAGE, f"docker.io/{IMAGE}"]]


async def test_an_image_that_is_not_here_is_the_nodes_to_pull() -> None:
    engine = FakeNodes()
    engine.has_image = False
    await image_nodes.provide(engine, "r.example/a:1", ["kind-worker"], lambda text: None)  # type: ignore[arg-type]
    assert engine.api.threads == []


async def test_a_node_that_does_not_take_it() -> None:
    engine = FakeNodes()
    engine.api.programs = lambda argv, stdin: (1, b"ctr: no space left")
    with pytest.raises(Refusal, match=r"node kind-worker did not take .*: ctr: no space left") as refusal:
        await image_nodes.provide(engine, IMAGE, ["kind-worker"], lambda text: None)  # type: ignore[arg-type]
    assert "kind load" in refusal.value.next_step
