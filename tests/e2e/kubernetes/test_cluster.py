"""The cluster of the tests is a real one: what the product leans on in Kubernetes is there and does what it should."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster import cluster as made
from tests.cluster import faults, parts
from tests.cluster import images as nodes
from tests.cluster.kubectl import Json, Kubectl
from tests.cluster.places import CONTROL_NAME, IPV6, NODES
from tests.cluster.users import Rule

from .conftest import OWN
from .scene import Images, Scene, container, pod_spec, service

pytestmark = pytest.mark.skipif(
    OWN in os.environ, reason="a cluster that somebody brought is theirs to judge"
)

NAMES = [node.name for node in NODES]
SERVES = ("python3", "-m", "http.server", "8080")
GROUP = "tests.mirror-run.dev"


def serve(scene: Scene, name: str = "web", replicas: int = 2) -> str:
    return scene.deployment(name, replicas, SERVES, {"http": 8080})


def processes() -> dict[tuple[str, str], int]:
    return {
        (part, name): process.pid
        for part in (CONTROL_NAME, *NAMES)
        for name, process in parts.running(part).items()
        if not name.startswith("containerd-shim")
    }


def test_two_nodes_and_every_program(cluster: Kubectl) -> None:
    assert [node["metadata"]["name"] for node in cluster.items("get", "nodes")] == NAMES
    central = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
    assert set(processes()) == {
        *((CONTROL_NAME, name) for name in central),
        *((node, name) for node in NAMES for name in ("containerd", "kubelet", "kube-proxy", "kube-router")),
    }


def test_up_again_changes_nothing(cluster: Kubectl) -> None:
    before = processes()
    said: list[str] = []
    made.up(said.append, renew=False)
    assert processes() == before
    assert "stands already" in said[0]


def test_pods_meet_across_nodes_by_name_and_by_address(scene: Scene) -> None:
    serve(scene)
    pods = scene.pods("web")
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == NAMES, "one on each"
    for node in NAMES:
        client = scene.client(node)
        scene.reachable(client, "web", 8080)
        scene.inside(client, "curl", "-sf", f"http://web.{scene.namespace}.svc.cluster.local:8080/")
        for pod in pods:
            scene.inside(client, "curl", "-sf", f"http://{pod['status']['podIP']}:8080/")


def test_pods_and_services_have_both_families(scene: Scene) -> None:
    if not IPV6:
        pytest.skip("this machine knows no IPv6")
    scene.deployment("web", 2, (*SERVES, "--bind", "::"), {"http": 8080})
    scene.kube("patch", "service", "web", "-p", '{"spec": {"ipFamilyPolicy": "PreferDualStack"}}')
    for node in NAMES:
        client = scene.client(node)
        for pod in scene.pods("web"):
            six = pod["status"]["podIPs"][1]["ip"]
            scene.inside(client, "curl", "-sfg", f"http://[{six}]:8080/")
        scene.wait_inside(client, "curl", "-sf6", "-m5", "http://web:8080/")


@pytest.mark.parametrize("family", ["4", "6"] if IPV6 else ["4"])
def test_a_network_policy_is_enforced(scene: Scene, family: str) -> None:
    """By pod and by port, on the pod's own node and on the other; and what was enforced ends with it."""
    scene.deployment("web", 2, (*SERVES, "--bind", "::"), {"http": 8080})
    for name in ("friend", "stranger"):
        scene.pod(name, spec={"nodeName": NAMES[0]})
    pods = [pod["status"]["podIPs"][int(family) // 6]["ip"] for pod in scene.pods("web")]
    urls = [f"http://[{ip}]:8080/" if family == "6" else f"http://{ip}:8080/" for ip in pods]

    def asks(who: str, url: str) -> int:
        words = ("-n", scene.namespace, "exec", who, "--", "curl", "-sg", "-m2", "-o/dev/null", url)
        return scene.kubectl.tried(*words).returncode

    def until(said: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not said():  # a rule in force on a node is no event
            assert time.monotonic() < deadline

    assert [asks(who, url) for who in ("friend", "stranger") for url in urls] == [0, 0, 0, 0]
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "friends"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}], "ports": [{"port": 8080}]}
            ],
        },
    }
    scene.apply(policy)
    for url in urls:
        until(lambda url=url: asks("stranger", url) in (7, 28))  # type: ignore[misc]  # refused, or unanswered
        assert asks("friend", url) == 0
    scene.kube("delete", "networkpolicy", "friends")
    for url in urls:
        until(lambda url=url: asks("stranger", url) == 0)  # type: ignore[misc]


def test_node_port_and_headless_service(scene: Scene) -> None:
    serve(scene)
    scene.apply(service("open", {"http": 8080}, "web", type="NodePort"))
    scene.apply(service("bare", {"http": 8080}, "web", clusterIP="None"))
    client = scene.client()
    port = scene.get("service", "open")["spec"]["ports"][0]["nodePort"]
    for node in NODES:
        scene.reachable(client, node.address, port)
    scene.wait_inside(client, "sh", "-c", "[ $(getent ahostsv4 bare | grep -c STREAM) = 2 ]")


def test_nothing_leads_to_the_outside(scene: Scene) -> None:
    client = scene.client()
    assert "NXDOMAIN" in scene.inside(client, "dig", "www.debian.org")
    done = scene.kubectl.tried(
        "-n", scene.namespace, "exec", client, "--", "curl", "-m5", "http://198.19.0.1/"
    )
    assert done.returncode in (7, 28), done.stderr  # curl(1): could not connect, timed out


def test_a_user_has_the_rights_that_were_given(scene: Scene, user: Callable[..., Kubectl]) -> None:
    anna = user(
        "anna",
        namespaces={scene.namespace: "view"},
        rules=[Rule(["create"], "pods/portforward", scene.namespace), Rule(["list"], "nodes")],
        groups=["developers"],
    )
    assert "developers" in anna.json("auth", "whoami")["status"]["userInfo"]["groups"]
    assert [node["metadata"]["name"] for node in anna.items("get", "nodes")] == NAMES
    anna("-n", scene.namespace, "get", "pods")

    def may(*words: str, namespace: str = scene.namespace) -> bool:
        return anna.tried("-n", namespace, "auth", "can-i", *words).stdout.strip() == "yes"

    assert may("create", "pods", "--subresource=portforward")
    assert not may("create", "pods", "--subresource=exec")
    assert may("get", "pods")
    assert not may("get", "pods", namespace="default")
    said = anna.tried("-n", "default", "get", "pods")
    assert 'User "anna" cannot list resource "pods"' in said.stderr


def test_pod_security_is_enforced(scene: Scene) -> None:
    scene.kubectl("label", "namespace", scene.namespace, "pod-security.kubernetes.io/enforce=baseline")
    spec = pod_spec(container(scene.images.programs, ["true"]), hostPID=True)
    with pytest.raises(Exception, match='violates PodSecurity "baseline:latest": host namespaces'):
        scene.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec})


@pytest.fixture
def thing(cluster: Kubectl) -> Json:
    """A namespaced kind, once: what is its spec stays, as long as it lives."""
    spec: Json = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "spec is immutable"}],
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    }
    kind: Json = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "versions": [version],
        },
    }
    cluster.apply(kind)
    cluster("wait", "--for=condition=Established", f"crd/things.{GROUP}")
    return kind


def test_a_kind_of_ones_own_is_watched_and_immutable(scene: Scene, thing: Json) -> None:
    one = {"apiVersion": f"{GROUP}/v1", "kind": "Thing", "metadata": {"name": "one"}, "spec": {"a": 1}}
    scene.apply(one)
    scene.until(lambda seen: seen["spec"]["a"] == 1, f"things.{GROUP}", "one")
    with pytest.raises(Exception, match="spec is immutable"):
        scene.apply(one | {"spec": {"a": 2}})


def test_an_admission_policy_asks_the_authorizer(
    scene: Scene, thing: Json, user: Callable[..., Kubectl]
) -> None:
    asks = (
        f"authorizer.group('{GROUP}').resource('things').subresource('steal')"
        ".namespace(object.metadata.namespace).check('create').allowed()"
    )
    match = {"apiGroups": [GROUP], "apiVersions": ["*"], "resources": ["things"], "operations": ["CREATE"]}
    name = f"{scene.namespace}.{GROUP}"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [match]},
            "validations": [{"expression": asks, "message": "you lack create things/steal"}],
        },
    }
    only = {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}}
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": only},
        },
    }
    mirrors = user("mirrors", rules=[Rule(["create", "get"], "things", scene.namespace, GROUP)])
    steals = user(
        "steals",
        rules=[
            Rule(["create", "get"], "things", scene.namespace, GROUP),
            Rule(["create"], "things/steal", scene.namespace, GROUP),
        ],
    )
    one = {"apiVersion": f"{GROUP}/v1", "kind": "Thing", "metadata": {"generateName": "t-"}, "spec": {"a": 1}}

    def refused() -> bool:
        words = ("-n", scene.namespace, "create", "-f", "-")
        return "you lack create things/steal" in mirrors.tried(*words, text=json.dumps(one)).stderr

    try:
        scene.kubectl.apply(policy, binding)
        for _ in range(300):  # the API server takes a policy up some time after it was made, and tells nobody
            if refused():
                break
        else:
            pytest.fail("the policy was never in force")
        steals("-n", scene.namespace, "create", "-f", "-", text=json.dumps(one))
    finally:
        kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy"
        scene.kubectl("delete", kinds, name, "--ignore-not-found")


def test_port_forward_carries_octets(scene: Scene) -> None:
    pod = scene.pod("echo", ("socat", "TCP4-LISTEN:7,bind=127.0.0.1,fork,reuseaddr", "EXEC:cat"))
    scene.wait_inside(pod, "nc", "-z", "127.0.0.1", "7")
    command = scene.kubectl.command("-n", scene.namespace, "port-forward", f"pod/{pod}", ":7")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as forward:
        assert forward.stdout is not None
        said: list[str] = []
        for line in forward.stdout:
            said.append(line)
            if found := re.search(r"Forwarding from 127\.0\.0\.1:(\d+)", line):
                break
        else:
            pytest.fail("".join(said))
        with socket.create_connection(("127.0.0.1", int(found[1])), 10) as there:
            sent = bytes(range(256)) * 1024
            with ThreadPoolExecutor(1) as pool:  # what comes back must be read, or nothing more can be sent
                sending = pool.submit(there.sendall, sent)
                got = b""
                while len(got) < len(sent) and (more := there.recv(1 << 16)):
                    got += more
                sending.result()
        assert got == sent
        forward.terminate()


def test_an_ephemeral_container_sees_its_target(scene: Scene) -> None:
    pod = scene.pod("web", SERVES)
    scene.kube("debug", pod, "--image", scene.images.programs, "--target=main", "-c", "guest", "--profile=sysadmin",
               "--image-pull-policy=IfNotPresent", "--", "sleep", "infinity")  # fmt: skip

    def runs(seen: Json) -> bool:
        return any("running" in one["state"] for one in seen["status"].get("ephemeralContainerStatuses", ()))

    scene.until(runs, "pod", pod)
    assert "http.server" in scene.inside(
        pod, "sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '", container="guest"
    )
    assert faults.pids_of(scene.kubectl, scene.namespace, pod, "guest") != faults.pids_of(
        scene.kubectl, scene.namespace, pod
    )


def test_an_images_second_load_is_nothing(cluster: Kubectl, images: Images) -> None:
    said: list[str] = []
    nodes.load([images.agent, images.programs], said.append)
    assert said == []
    for node in NODES:
        assert {nodes.full_name(images.agent), nodes.full_name(images.programs)} <= nodes.present(node).keys()


def test_a_killed_container_starts_again_in_place(scene: Scene) -> None:
    name = serve(scene, replicas=1)
    (pod,) = scene.names("web")
    faults.kill(scene.kubectl, scene.namespace, pod)
    after = scene.until(
        lambda seen: (
            seen["status"]["containerStatuses"][0]["restartCount"] == 1
            and seen["status"]["containerStatuses"][0]["ready"]
            and "terminated" in seen["status"]["containerStatuses"][0]["lastState"]
        ),
        "pod",
        pod,
    )
    ended = after["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert ended["exitCode"] == 128 + signal.SIGKILL
    assert scene.names("web") == [pod], name


def test_pods_do_not_notice_that_the_kubelet_was_killed(scene: Scene) -> None:
    serve(scene, replicas=1)
    (pod,) = scene.pods("web")
    name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    before = faults.pids_of(scene.kubectl, scene.namespace, name)
    faults.restart_kubelet(scene.kubectl, node)
    assert faults.pids_of(scene.kubectl, scene.namespace, name) == before
    scene.wait_inside(name, "true")
    assert scene.pods("web")[0]["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_api_server_comes_back_with_all_it_knew(scene: Scene) -> None:
    serve(scene, replicas=1)
    pods = scene.names("web")
    faults.restart_api_server()
    assert scene.names("web") == pods
    with faults.without(CONTROL_NAME, faults.API_SERVER):
        assert not made.answers()
        assert scene.kubectl.tried("get", "nodes", "--request-timeout=1s").returncode != 0
    assert scene.names("web") == pods
    scene.scale("web", 2)


def test_a_drained_nodes_pods_go_to_the_other(scene: Scene) -> None:
    serve(scene, replicas=1)
    (pod,) = scene.pods("web")
    node = pod["spec"]["nodeName"]
    with faults.drained(scene.kubectl, node):
        scene.ready("deployment/web")
        (moved,) = scene.pods("web")
        assert moved["spec"]["nodeName"] == next(name for name in NAMES if name != node)
    assert "unschedulable" not in scene.kubectl.json("get", "node", node)["spec"]
