"""`mirror-run images` with a real engine: pushed, saved, and loaded into a node that is a container."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from runner import images as product
from runner.contexts import choose
from runner.engine import Engine, connect
from runner.kube import agent_images, image_nodes
from tests.e2e.docker.scene import MIRROR_RUN

from .registry import Registry, serving

PATIENCE = 300.0


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    made = docker.from_env(timeout=120)
    yield made
    made.close()


@pytest.fixture(scope="module")
def agent(client: docker.DockerClient) -> str:
    return product.ensure(client, lambda line: None).agent


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    made = await connect(choose(os.environ, Path.home()))
    yield made
    made.api.close()


def images(*words: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    more = {"DOCKER_CONFIG": str(config)} if config else {}
    return subprocess.run(
        [str(MIRROR_RUN), "images", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=os.environ | more,
    )


def is_whole(registry: Registry, reference: str) -> bool:
    """The manifest is there under its digest, and everything that it names with the size that it says."""
    name = agent_images.parsed(reference)
    kind, content = registry.manifests[f"{name.path}:{name.tag}"]
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == name.digest
    manifest = json.loads(content)
    assert manifest["mediaType"] == kind
    parts = [manifest["config"], *manifest["layers"]]
    return all(registry.blobs[part["digest"]] == part["size"] for part in parts)


def test_build_names_what_the_engine_has(client: docker.DockerClient, agent: str) -> None:
    done = images("build")
    bridge, built = done.stdout.split()
    assert built == agent, done.stderr
    assert client.images.get(bridge)
    assert client.images.get(built)


def test_a_push_prints_the_digest_by_which_the_registry_has_it(
    client: docker.DockerClient, agent: str
) -> None:
    with serving() as registry:
        done = images("push", f"{registry.host}/tools")
        assert done.returncode == 0, done.stderr
        reference = done.stdout.strip()
        assert reference.startswith(
            f"{registry.host}/tools/mirror-run-agent:{agent_images.tag(agent)}@sha256:"
        )
        assert is_whole(registry, reference)
        assert f"MIRROR_RUN_AGENT_IMAGE={registry.host}/tools/mirror-run-agent" in done.stderr
    assert not client.images.list(f"{registry.host}/tools/mirror-run-agent"), (
        "its name there stays on the engine"
    )


def test_a_push_has_dockers_credentials(agent: str, tmp_path: Path) -> None:
    with serving(password="s3cret") as registry:
        refused = images("push", registry.host, config=tmp_path)
        assert refused.returncode == 125
        assert f"docker login {registry.host}" in refused.stderr
        assert registry.manifests == {}
        known = {"auths": {registry.host: {"auth": registry.credentials}}}
        (tmp_path / "config.json").write_text(json.dumps(known))
        done = images("push", registry.host, config=tmp_path)
        assert done.returncode == 0, done.stderr
        assert is_whole(registry, done.stdout.strip())
        assert "s3cret" not in done.stderr


def test_a_registry_that_is_not_there(agent: str) -> None:
    done = images("push", "127.0.0.1:9/tools")
    assert done.returncode == 125
    assert "127.0.0.1:9/tools/mirror-run-agent" in done.stderr
    assert "can the engine's machine reach it?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_holds_it_under_its_name(agent: str, tmp_path: Path) -> None:
    path = tmp_path / "agent.tar"
    done = images("save", str(path))
    assert done.stdout.strip() == agent, done.stderr
    with tarfile.open(path) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        assert json.load(manifest)[0]["RepoTags"] == [agent]


@pytest.fixture
def node(client: docker.DockerClient, agent: str) -> Iterator[Container]:
    """A container as kind's nodes are: of this engine, with its label, and a containerd in it (this machine's)."""
    programs = {name: shutil.which(name) for name in ("containerd", "ctr")}
    assert all(programs.values()), "containerd is missing: images/host/install.sh cluster installs it"
    made = client.containers.run(
        product.base(client, lambda line: None),
        ["containerd"],
        name=f"agents-node-{uuid.uuid4().hex[:6]}",
        labels={"io.x-k8s.kind.cluster": "agents-test"},
        volumes=[*(f"{path}:{path}:ro" for path in programs.values()), "/var/lib/containerd"],
        network_mode="none",
        cap_add=["SYS_ADMIN"],
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        detach=True,
    )
    try:
        done = made.exec_run(["sh", "-c", "until ctr version > /dev/null 2>&1; do sleep 0.1; done"])
        assert done.exit_code == 0
        yield made
    finally:
        made.remove(force=True, v=True)


async def test_a_node_that_is_a_container_gets_it_from_the_engine(
    engine: Engine, node: Container, agent: str
) -> None:
    said: list[str] = []
    await image_nodes.provide(engine, agent, [str(node.name), "elsewhere"], said.append)
    assert said == [f"loading {agent} into node {node.name}, a container of this engine"]
    _, listed = node.exec_run(["ctr", "-n", "k8s.io", "images", "check", f"name==docker.io/{agent}"])
    assert b"complete" in listed
    await image_nodes.provide(engine, agent, [str(node.name)], said.append)
    assert len(said) == 1, "it was loaded twice"
