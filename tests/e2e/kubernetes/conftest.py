"""Fixtures of the tests on a real cluster; on failure, what the runs, the namespace's pods and the agents said.

The cluster is the one of `make cluster`, started if it does not stand. MIRROR_RUN_TEST_KUBECONFIG names another one
that may be used: there the images have to be where it pulls from, and are named by MIRROR_RUN_TEST_IMAGE
(tests/e2e/image) and MIRROR_RUN_TEST_AGENT_IMAGE.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import docker
import pytest

from runner import images as product
from tests.cluster import cluster as made
from tests.cluster import images as nodes
from tests.cluster import users
from tests.cluster.kubectl import Kubectl
from tests.e2e import prepare
from tests.once import once

from .installation import Standing
from .scene import Images, Scene, told, wait_left

OWN = "MIRROR_RUN_TEST_KUBECONFIG"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kubernetes)


@pytest.fixture(scope="session")
def cluster() -> Kubectl:
    """The cluster, as its administrator."""
    if brought := os.environ.get(OWN):
        program = shutil.which("kubectl")
        assert program, f"{OWN} is set, and there is no kubectl to speak to it with"
        return Kubectl(program, Path(brought).resolve())
    made.up(lambda text: print(f"cluster: {text}"), renew=False)
    return made.kubectl()


@pytest.fixture(scope="session")
def images(cluster: Kubectl) -> Images:
    """What tests and the product run in the cluster, on every node."""
    if os.environ.get(OWN):
        return Images(os.environ["MIRROR_RUN_TEST_IMAGE"], os.environ["MIRROR_RUN_TEST_AGENT_IMAGE"])
    client = docker.from_env(timeout=120)
    try:
        programs, agent = prepare.programs(client), product.names().agent
    finally:
        client.close()
    with once("nodes"):
        nodes.load([programs, agent])
    return Images(programs, agent)


@pytest.fixture(scope="session")
def spent(cluster: Kubectl) -> Iterator[list[str]]:
    """Namespaces whose tests are over. Kubernetes lets 5 s pass before it looks into one that is to end."""
    names: list[str] = []
    yield names
    if names:
        cluster.gone("namespace", *names)


@pytest.fixture(scope="session")
def standing(cluster: Kubectl, images: Images) -> Iterator[Standing]:
    """For whom the installation itself is what is tested: `gone`, or to be ended by them."""
    made = Standing(images.agent)
    yield made
    made.gone()


@pytest.fixture(scope="module")
def installed(standing: Standing) -> Standing:
    """Agents on every node."""
    standing.ensure()
    return standing


MAKERS = "deployments,statefulsets,daemonsets,replicasets,cronjobs,jobs"


@pytest.fixture
def namespace(cluster: Kubectl, spent: list[str]) -> Iterator[str]:
    """A new one for each test. What runs in it is gone before the next, it itself before the end of all tests."""
    name = f"mrt-{uuid.uuid4().hex[:6]}"
    cluster("create", "namespace", name)
    yield name
    spent.append(name)
    cluster("-n", name, "delete", MAKERS, "--all", "--wait=false")
    cluster("-n", name, "delete", "pods", "--all", "--grace-period=1")
    cluster("delete", "namespace", name, "--wait=false")


@pytest.fixture
def scene(cluster: Kubectl, namespace: str, images: Images) -> Iterator[Scene]:
    """The namespace with hands. At the end its runs are ended, and nothing that they made is left."""
    stage = Scene(cluster, namespace, images)
    yield stage
    stage.close_runs()
    left = wait_left(stage)
    assert not left, f"left: {', '.join(sorted(left))}"


@pytest.fixture
def user(cluster: Kubectl, tmp_path: Path) -> Iterator[Callable[..., Kubectl]]:
    """Makes people: user("anna", namespaces={"shop": "edit"}, rules=[Rule(["create"], "pods/portforward", "shop")])."""
    with ExitStack() as people:

        def make(
            name: str,
            namespaces: Mapping[str, str] | None = None,
            rules: Sequence[users.Rule] = (),
            groups: Sequence[str] = (),
        ) -> Kubectl:
            return people.enter_context(users.user(cluster, tmp_path, name, namespaces, rules, groups))

        yield make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    stage = getattr(item, "funcargs", {}).get("scene")
    if getattr(report, "failed", False) and isinstance(stage, Scene):
        try:
            report.sections.extend(told(stage))
        except (subprocess.SubprocessError, OSError) as error:  # the cluster itself may be what failed
            report.sections.append(("cluster", str(error)))
    return report
