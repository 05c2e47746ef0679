"""Fixtures of the end-to-end tests on a real engine; on failure, what the agent, the bridge and the engine said."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool

from tests.e2e import prepare

from .scene import LABEL, ROLE, Left, Scene, wait_left


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    """The engine `docker` itself would use. There must be one: `make engine` starts it."""
    made = docker.from_env(timeout=120)
    made.ping()
    yield made
    made.close()


@pytest.fixture(scope="session")
def programs(client: docker.DockerClient) -> str:
    """The image of the programs that tests run; the product's own images are built on the way."""
    return prepare.programs(client)


@pytest.fixture(scope="session")
def scene(client: docker.DockerClient, programs: str) -> Iterator[Scene]:
    name = f"mrt-{uuid.uuid4().hex[:6]}"
    for third in range(255, 223, -1):  # another run of these tests, or what one left, may have some
        pools = [IPAMPool(f"198.19.{third}.0/24"), IPAMPool(f"fd00:198:18:{third:x}::/64")]
        ipam = IPAMConfig(pool_configs=pools)
        try:
            network = client.networks.create(
                name, driver="bridge", labels={LABEL: name}, enable_ipv6=True, ipam=ipam
            )
            break
        except docker.errors.APIError as error:
            if "overlaps" not in str(error):
                raise
    else:
        pytest.fail("every network from 198.19.224.0 to 198.19.255.0 is taken: `docker network ls`")
    made = Scene(client, programs, name, network, f"198.19.{third}")
    yield made
    made.close()


@pytest.fixture(scope="session")
def peer(scene: Scene) -> Container:
    """Who the target talks to: a server for each behaviour, iperf3, and a name server with names of the outside."""
    made = scene.container("peer", ["sh", "-c", "exec sh /programs/peer.sh"], cap_add=["NET_ADMIN"])
    scene.wait_inside(
        made,
        "sh",
        "-c",
        "nc -z 127.0.0.1 8080 && nc -z 127.0.0.1 5201 && nc -z 127.0.0.1 53 && nc -z 127.0.0.1 5432",
    )
    return made


@pytest.fixture(scope="session")
def target(scene: Scene, peer: Container) -> Container:
    """nginx, redis, WebSocket and HTTP/2 servers in one container whose entrypoint exports a variable of its own."""
    made = scene.container(
        "target",
        ["sh", "/programs/target.sh"],
        cap_add=["NET_ADMIN"],
        dns=[scene.address(peer)],
        extra_hosts={"pinned.example": f"{scene.prefix}.250"},
        environment={"GIVEN_BY_COMPOSE": "yes", "DATABASE_URL": "postgresql://postgres@peer/postgres"},
    )
    scene.wait_inside(
        made,
        "sh",
        "-c",
        "nc -z 127.0.0.1 8080 && nc -z 127.0.0.1 8765 && nc -z 127.0.0.1 7008 && nc -z 127.0.0.1 8443",
    )
    return made


@pytest.fixture(scope="session")
def bystander(scene: Scene) -> Container:
    """A client of the target."""
    return scene.container("client", ["sleep", "infinity"])


@pytest.fixture(autouse=True)
def tidy(scene: Scene) -> Iterator[None]:
    """Every test: runs are ended, and nothing of them is left."""
    before = Left.of(scene)
    yield
    scene.close_runs()
    after = wait_left(scene, before)
    assert after.containers <= before.containers, "containers were left"
    assert after.processes <= before.processes, "processes were left"
    assert after.volumes <= before.volumes, "volumes were left"
    assert after.networks <= before.networks, "networks were left"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what every run of it said on stderr, and the agent's log as long as it lives."""
    report = yield
    stage = getattr(item, "funcargs", {}).get("scene")
    if getattr(report, "failed", False) and stage is not None:
        for number, run in enumerate(stage.runs):
            report.sections.append((f"mirror-run {number}, stderr", "".join(run.err.seen[-80:])))
        for found in stage.client.containers.list(filters={"label": f"{ROLE}=agent"}, ignore_removed=True):
            try:
                report.sections.append((f"log of {found.name}", found.logs(tail=80).decode(errors="replace")))
            except docker.errors.APIError as error:
                report.sections.append((f"log of {found.name}", str(error)))
    return report
