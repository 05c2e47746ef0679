"""What comes over the target's loopback: what a mesh's proxy brings is its clients' and is stolen; whoever else asks
there asks the target, unless that is stolen too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from docker.models.containers import Container

from .scene import LABEL, Scene
from .stealing import as_before, ask, network, stolen, until


@contextmanager
def sidecar_of(scene: Scene, target: Container, *words: str) -> Iterator[None]:
    """In the target's network, for a while; see mesh.py."""
    before = network(scene, target)
    sidecar: Container = scene.client.containers.run(
        scene.image,
        ["python3", "-u", "/programs/mesh.py", *words],
        network_mode=f"container:{target.id}",
        cap_add=["NET_ADMIN"],
        labels={LABEL: scene.name},
        init=True,
        detach=True,
    )
    try:
        scene.wait_inside(sidecar, "nft", "list", "table", "ip", "mesh")
        yield
    finally:
        scene.close_runs()
        scene.inside(sidecar, "nft", "delete", "table", "ip", "mesh")
        sidecar.remove(force=True, v=True)
    as_before(scene, target, before)


@pytest.fixture(params=["istio", "linkerd"])
def mesh(scene: Scene, target: Container, request: pytest.FixtureRequest) -> Iterator[str]:
    """A sidecar's name."""
    with sidecar_of(scene, target, request.param):
        yield str(request.param)


def test_what_a_mesh_brings(scene: Scene, target: Container, bystander: Container, mesh: str) -> None:
    """Behind the proxy, where it is plain text again: who the proxy is to the target, it is to the app."""
    own = scene.address(target)
    peer = {"istio": "127.0.0.6", "linkerd": own}[mesh]
    assert ask(scene, bystander, own)["by"] == "target"
    run = stolen(scene, target)
    answer = ask(scene, bystander, own)
    assert (answer["by"], answer["peer"][0].removeprefix("::ffff:")) == ("app", peer)
    assert answer["own"].removeprefix("::ffff:") == own
    assert ask(scene, target, "127.0.0.1")["by"] == "target"
    run.end()
    assert ask(scene, bystander, own)["by"] == "target"
    stolen(scene, target, "--http-header", "^x-user: ada$")
    for user, party in (("ada", "app"), ("ben", "target"), ("ada", "app")):
        assert ask(scene, bystander, own, "-H", f"x-user: {user}")["by"] == party


def test_a_proxy_of_another_user(scene: Scene, target: Container, bystander: Container) -> None:
    """What it brings is nobody's clients' before that is said (--mesh-uid), and theirs then."""
    own = scene.address(target)
    with sidecar_of(scene, target, "istio", "4242"):
        run = stolen(scene, target)
        assert ask(scene, bystander, own)["by"] == "target"
        run.end()
        run = stolen(scene, target, "--mesh-uid", "4242")
        assert ask(scene, bystander, own)["by"] == "app"
        assert ask(scene, target, "127.0.0.1")["by"] == "target"


def test_whoever_is_inside(scene: Scene, target: Container, bystander: Container) -> None:
    """With --steal-local: by each of its addresses but ::1, which stays the target's at once; those outside as
    ever."""
    before = network(scene, target)
    run = stolen(scene, target, "--steal-local")
    until(scene, bystander, "app")
    for host in ("127.0.0.1", scene.address(target), f"[{scene.address(target, 6)}]"):
        assert ask(scene, target, host)["by"] == "app", host
    assert ask(scene, target, "[::1]", "--connect-timeout", "1")["by"] == "target"
    run.end()
    for host in ("127.0.0.1", "[::1]", scene.address(target)):
        assert ask(scene, target, host)["by"] == "target", host
    as_before(scene, target, before)
