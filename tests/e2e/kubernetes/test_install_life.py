"""An installation from its beginning to its end: upgraded, refused, removed without a trace."""

from __future__ import annotations

import json

import pytest
import yaml

from runner.kube.install_manifests import AGENT, InstallOptions, manifests
from tests.cluster.kubectl import Kubectl
from tests.e2e.docker.scene import ROOT

from .installation import AGENTS, Standing, install, mirror_run, ours
from .scene import Images


@pytest.fixture(autouse=True)
def nothing(standing: Standing) -> None:
    """Is installed at first."""
    standing.gone()


def test_upgrade_keeps_what_it_was_installed_with(cluster: Kubectl, images: Images) -> None:
    node = cluster.items("get", "nodes")[0]["metadata"]["name"]
    said = install(images.agent, "--node-selector", f"kubernetes.io/hostname={node}")
    try:
        assert "1 agent" in said
        before = cluster.json("get", "mirrorpolicy", "default")
        cluster("patch", "mirrorpolicy", "default", "--type=merge", "-p", '{"spec": {"connections": 77}}')
        assert "1 agent" in mirror_run("upgrade", "--image", images.agent, "--connect", "developers")
        spec = cluster.json("get", "daemonset", "-n", AGENTS, AGENT)["spec"]["template"]["spec"]
        assert spec["nodeSelector"]["kubernetes.io/hostname"] == node
        bound = cluster.json("get", "rolebinding", "-n", AGENTS, "mirror-run-connect")
        assert [one["name"] for one in bound["subjects"]] == ["developers"]
        after = cluster.json("get", "mirrorpolicy", "default")
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["spec"] == before["spec"] | {"connections": 77}
        assert "installed in namespace mirror-run already" in install(
            images.agent, "-n", "elsewhere", code=125
        )
    finally:
        mirror_run("uninstall")
    assert ours(cluster) == []


def test_an_image_that_no_node_has(cluster: Kubectl) -> None:
    try:
        said = mirror_run("install", "--image", "mirror-run/agent:nobody-has-this", code=125)
        assert "the node has no image mirror-run/agent:nobody-has-this" in said
        assert "on node n" in said
    finally:
        mirror_run("uninstall")
    assert ours(cluster) == []


def test_a_namespace_that_was_there_stays(cluster: Kubectl, images: Images, namespace: str) -> None:
    cluster("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged")
    try:
        said = install(images.agent, "-n", namespace)
        assert f"namespace {namespace} was there before" in said
    finally:
        assert f"but the namespace {namespace}" in mirror_run("uninstall")
    assert ours(cluster) == []
    assert cluster.json("get", "namespace", namespace)["status"]["phase"] == "Active"


def test_nothing_to_upgrade(cluster: Kubectl) -> None:
    assert "not installed in this cluster" in mirror_run("upgrade", code=125)
    assert "nothing is left" in mirror_run("uninstall")


def test_kustomize_says_the_same(cluster: Kubectl) -> None:
    said = list(yaml.safe_load_all(cluster("kustomize", str(ROOT / "docs" / "kustomize"))))
    image = "registry.example.com/mirror-run/agent:0.1.0"
    ordered = sorted(said, key=lambda one: (one["kind"], one["metadata"]["name"]))
    wanted = sorted(
        json.loads(json.dumps(manifests(InstallOptions(image=image)))),
        key=lambda one: (one["kind"], one["metadata"]["name"]),
    )
    assert ordered == wanted
