"""What `mirror-run install` leaves in a real cluster: what it is, who reaches it, what it may do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner.kube.install_manifests import AGENT, PORT, InstallOptions, manifests, selector_text
from runner.kube.object_path import PLURALS
from tests.cluster.kubectl import Kubectl

from .installation import AGENTS, Standing, install, may, mirror_run, ours
from .scene import Images

ACCOUNT = f"system:serviceaccount:{AGENTS}:{AGENT}"

CONNECTS = f"""
import socket, sys
try:
    socket.create_connection((sys.argv[1], {PORT}), 3)
    print("open")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def installed(cluster: Kubectl, images: Images, standing: Standing) -> Iterator[Kubectl]:
    standing.gone()
    install(images.agent)
    yield cluster
    mirror_run("uninstall")
    assert ours(cluster) == []


def agents(cluster: Kubectl) -> list[dict[str, object]]:
    return cluster.items("get", "pods", "-n", AGENTS, "-l", selector_text())


def test_once_more_changes_nothing(installed: Kubectl, images: Images) -> None:
    def versions() -> dict[str, str]:
        found = {}
        for one in manifests(InstallOptions(image=images.agent)):
            where = ["-n", AGENTS] if "namespace" in one["metadata"] else []
            name = one["metadata"]["name"]
            plural = PLURALS[one["kind"]]
            if one["apiVersion"].startswith("mirror-run.dev"):
                plural += ".mirror-run.dev"
            metadata = installed.json("get", *where, plural, name)["metadata"]
            found[f"{plural}/{name}"] = (
                f"{metadata['uid']} {metadata.get('generation', metadata['resourceVersion'])}"
            )
        return found

    before = versions()
    assert "2 agents" in install(images.agent)
    assert versions() == before


def test_no_other_pod_reaches_the_agents_port(installed: Kubectl) -> None:
    """By the pod's address, from a pod on the other node and from the agent's own."""
    first, second = agents(installed)
    for of, at in ((first, second), (first, first)):
        address = at["status"]["podIP"]  # type: ignore[index]
        name = of["metadata"]["name"]  # type: ignore[index]
        said = installed("exec", "-n", AGENTS, name, "--", "python3", "-c", CONNECTS, address)
        assert said.strip() == "ConnectionRefusedError"
        said = installed("exec", "-n", AGENTS, name, "--", "python3", "-c", CONNECTS, "127.0.0.1")
        assert said.strip() == "open"


def test_what_the_agents_account_may_do(installed: Kubectl) -> None:
    """All of it: what a stolen token is worth."""
    for words in (
        ("get", "pods", "-A"),
        ("create", "events", "-A"),
        ("list", "mirrorsessions.mirror-run.dev", "-A"),
        ("watch", "mirrorsessions.mirror-run.dev", "-A"),
        ("delete", "mirrorsessions.mirror-run.dev", "-A"),
        ("get", "validatingadmissionpolicies/mirror-run-sessions"),
    ):
        assert may(ACCOUNT, *words), words
    for words in (
        ("get", "secrets", "-A"),
        ("list", "pods", "-A"),
        ("create", "pods", "-A"),
        ("create", "pods", "--subresource=exec", "-A"),
        ("create", "pods", "--subresource=portforward", "-A"),
        ("create", "pods", "--subresource=ephemeralcontainers", "-A"),
        ("get", "pods", "--subresource=log", "-A"),
        ("create", "mirrorsessions.mirror-run.dev", "-A"),
        ("update", "mirrorsessions.mirror-run.dev", "-A"),
        ("patch", "mirrorsessions.mirror-run.dev", "--subresource=status", "-A"),
        ("create", "mirrorsessions.mirror-run.dev", "--subresource=steal", "-A"),
        ("update", "validatingadmissionpolicies/mirror-run-sessions"),
        ("patch", "mirrorpolicies.mirror-run.dev/default"),
        ("get", "configmaps", "-A"),
        ("get", "nodes"),
        ("create", "serviceaccounts", "--subresource=token", "-A"),
        ("impersonate", "users"),
    ):
        assert not may(ACCOUNT, *words), words


def test_the_agents_are_what_the_manifests_say(installed: Kubectl) -> None:
    pods = agents(installed)
    assert len(pods) == len(installed.items("get", "nodes"))
    labels = installed.json("get", "namespace", AGENTS)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"
    for pod in pods:
        assert not pod["spec"].get("hostNetwork")  # type: ignore[attr-defined]
        assert pod["spec"]["hostPID"]  # type: ignore[index]
    listed = installed("get", "mirrorsessions", "-A")
    assert "No resources found" in listed or listed == ""
