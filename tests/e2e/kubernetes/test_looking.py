"""What `doctor` and `ls` say of a real cluster, to who may everything and to who may little."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runner.kube.examination import LISTED
from tests.cluster.kubectl import Kubectl
from tests.cluster.users import Rule
from tests.e2e.docker.scene import MIRROR_RUN, ROOT

from .installation import AGENTS, Standing
from .numbered import PORT, SERVER
from .scene import Images, Scene, wait_left

PEOPLE = {"mia": "mirror-run-mirror", "eve": "edit"}
"""Who has which ClusterRole in the target's namespace."""


@pytest.fixture(scope="module")
def stage(cluster: Kubectl, images: Images, installed: Standing) -> Iterator[Scene]:
    """A target, and agents on every node."""
    name = f"mrt-looks-{uuid.uuid4().hex[:6]}"
    cluster("create", "namespace", name)
    scene = Scene(cluster, name, images)
    scene.deployment("cart", 1, ("python3", "-c", SERVER), {"http": PORT})
    known(scene)
    yield scene
    scene.close_runs()
    assert not wait_left(scene)
    cluster("delete", "namespace", name, "--wait=false")


def known(scene: Scene) -> None:
    """Waits until each node tells that it has the agent's image, or tells of so many that it leaves some out."""

    def tells(node: dict[str, Any]) -> bool:
        images = node["status"].get("images") or ()
        return len(images) >= LISTED or any(
            name.endswith(scene.images.agent) for image in images for name in image["names"]
        )

    for node in scene.kubectl.items("get", "nodes"):
        scene.kubectl.until(tells, "node", node["metadata"]["name"])


def said(scene: Scene, *words: str, user: Kubectl | None = None, code: int = 0) -> str:
    """mirror-run's own words, and ended with ``code``."""
    done = subprocess.run(
        [str(MIRROR_RUN), *words, "-n", scene.namespace],
        env=(user or scene.kubectl).environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_all_is_well_with_installed_agents(stage: Scene) -> None:
    """The server and its time, the way to it, agents on both nodes, a way to one of them, all rights."""
    text = said(stage, "doctor")
    assert "BAD" not in text
    assert re.search(
        rf"ok   cluster: v1\.\d+\.\S+ at https://\S+, context \S+, namespace {stage.namespace}", text
    )
    assert re.search(r"ok   clocks: 0 s apart", text)
    assert re.search(r"ok   stealing: kernels \d+\.\d+\S*\n", text)
    assert re.search(r"ok   the way to it: a call takes [\d.]+ ms, and [\d.]+ MB came at \d+ MB/s", text)
    assert f"ok   agents: installed in {AGENTS}, 2 of 2 run" in text
    assert re.search(r"ok   tunnel: one to the agent on node n\d took \d+ ms to open", text)
    assert f"ok   rights: what is needed in {AGENTS}" in text
    assert f"ok   rights: all that a session may have in {stage.namespace}" in text


@pytest.mark.parametrize("agent", ["daemonset", "job", "ephemeral"])
def test_a_probe_measures_the_tunnel_and_leaves_nothing(stage: Scene, agent: str) -> None:
    image = () if agent == "daemonset" else ("--agent-image", stage.images.agent)
    text = said(stage, "doctor", "--probe", "--agent", agent, *image)
    found = re.search(
        r"ok   probe: \S+ can be joined; a round trip through the tunnel takes ([\d.]+) ms, "
        r"and 25 MB went there and back at (\d+) MB/s",
        text,
    )
    assert found, text
    assert float(found[1]) < 1000
    assert int(found[2]) > 0
    assert re.search(r"ok   probe: cart-\S+ can be stolen from\n", text), text
    if image:
        assert f"ok   agent image: {stage.images.agent}" in text
    kinds = ("jobs", "mirrorsessions", "pods")
    stage.kube("wait", "--for=delete", "pods", "-l", "mirror-run.dev/role=agent", "--timeout=30s")
    names = [one["metadata"]["name"] for kind in kinds for one in stage.get(kind)["items"]]
    assert names == stage.names("cart")


def test_what_each_lacks_is_named(stage: Scene, user: Callable[..., Kubectl]) -> None:
    """Verb and resource, and who can help."""
    connect = (
        Rule(["get", "list", "watch"], "pods", AGENTS),
        Rule(["get", "create"], "pods/portforward", AGENTS),
    )
    mia = user("mia", {stage.namespace: PEOPLE["mia"]}, connect)
    text = said(stage, "doctor", user=mia)
    for right in ("outgoing", "env", "files", "files-write", "steal"):
        assert f"you lack create mirrorsessions/{right}.mirror-run.dev" in text
    assert "BAD" not in text, "mirroring alone is a session too"
    eve = user("eve", {stage.namespace: PEOPLE["eve"]})
    text = said(stage, "doctor", user=eve, code=125)
    assert (
        "BAD  rights: you lack get pods, list pods, watch pods, get pods/portforward, create pods/portforward in "
        f"namespace {AGENTS}"
    ) in text
    assert "you lack delete mirrorsessions.mirror-run.dev, patch mirrorsessions.mirror-run.dev/status" in text
    assert f"BAD  no mirroring in {stage.namespace}: you lack create mirrorsessions.mirror-run.dev" in text
    text = said(
        stage, "doctor", "--agent", "job", "--agent-image", stage.images.agent, user=user("nan"), code=125
    )
    assert (
        "BAD  rights: you lack create jobs.batch, delete jobs.batch, get pods, list pods, watch pods, "
        "get pods/portforward, create pods/portforward in namespace"
    ) in text


def test_an_image_that_no_node_has(stage: Scene) -> None:
    """Certain where every node tells of all that it has."""
    words = ("--agent", "job", "--agent-image", "mirror-run/agent:nobody-has-this")
    nodes = stage.kubectl.items("get", "nodes")
    sure = any(len(node["status"].get("images") or ()) < LISTED for node in nodes)
    text = said(stage, "doctor", *words, code=125 if sure else 0)
    found = re.search(r"(BAD|ok)  +agent image: mirror-run/agent:nobody-has-this.*; not (on|among the)", text)
    assert found, text
    assert "mirror-run images push" in text


def test_ls_shows_targets_and_who_is_at_them(stage: Scene, user: Callable[..., Kubectl]) -> None:
    run = stage.record("deploy/cart", str(PORT), options=("--agent", "daemonset"))
    lines = said(stage, "ls").splitlines()
    (row,) = (line.split() for line in lines if line.startswith("deploy/cart"))
    assert row[1:3] == ["1/1", "main"]
    assert stage.get("mirrorsessions")["items"][0]["spec"]["author"] in row[-1]
    run.end()
    view = user("nan", rules=[Rule(["get", "list"], "pods", stage.namespace)])
    text = said(stage, "ls", user=view)
    assert "you may not list" in text
    assert "deployments" in text
