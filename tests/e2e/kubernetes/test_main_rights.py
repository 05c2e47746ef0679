"""Whole runs with installed agents, by people with few rights: what is left out is said, and what is ended is over."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runner.kube.install_manifests import AGENT
from tests.cluster.kubectl import Kubectl
from tests.cluster.users import Rule
from tests.e2e.docker.scene import MIRROR_RUN
from tests.e2e.docker.stealing import APP, Held
from tests.e2e.docker.test_steal import SLOW

from .installation import AGENTS, Standing
from .scene import ROLE, Images, Scene

CONNECT = (
    Rule(["get", "list", "watch"], "pods", AGENTS),
    Rule(["get", "create"], "pods/portforward", AGENTS),
)


@pytest.fixture(scope="module")
def space(cluster: Kubectl, images: Images, installed: Standing) -> Iterator[str]:
    """A namespace with a target, and agents on every node."""
    name = f"mrt-people-{uuid.uuid4().hex[:6]}"
    cluster("create", "namespace", name)
    furnished = Scene(cluster, name, images)
    furnished.deployment("cart", env=[{"name": "GIVEN", "value": "yes"}])
    furnished.client()
    yield name
    cluster("delete", "namespace", name, "--wait=false")


@pytest.fixture
def scene(cluster: Kubectl, space: str, images: Images) -> Iterator[Scene]:
    stage = Scene(cluster, space, images)
    yield stage
    stage.close_runs()


def test_who_may_mirror_alone(scene: Scene, user: Callable[..., Kubectl]) -> None:
    mia = user("mia", {scene.namespace: "mirror-run-mirror"}, CONNECT)
    run = scene.record("deploy/cart", "8080", user=mia)
    said = "".join(run.err.seen)
    for words in (
        f"no connections from the target: you lack create mirrorsessions/outgoing in {scene.namespace}",
        f"no environment: you lack create mirrorsessions/env in {scene.namespace}",
    ):
        assert words in said
    listed = scene.kube("get", "mirrorsessions", "--no-headers").split()
    assert listed[1:5] == ["mia", "deploy/cart", "mirror", '["mirror"]']
    scene.inside("client", "curl", "-sS", "-m", "5", "http://cart:8080/index.html?1")
    assert "GET /index.html?1 " in str(run.event(port=8080, end="eof")["head"])


def test_nothing_goes_out_without_the_right(scene: Scene, user: Callable[..., Kubectl]) -> None:
    mia = user("mia", {scene.namespace: "mirror-run-mirror"}, CONNECT)
    script = "curl -sS -m 5 http://cart:8080/ && echo REACHED; env | grep -c ^FROM_ENTRYPOINT; true"
    said = scene.run("deploy/cart", "sh", "-c", script, user=mia)
    assert "REACHED" not in said
    assert said.split()[-1] == "0", "what the entrypoint exports is in no spec, only in the process"


def test_what_is_asked_for_is_refused(scene: Scene, user: Callable[..., Kubectl]) -> None:
    """In the words in which it is left out where nobody asks; nothing is made."""
    mia = user("mia", {scene.namespace: "mirror-run-mirror"}, CONNECT)
    lack = "you lack create mirrorsessions"
    for options, what in (
        (("--override-env-vars-include", "GIVEN"), f"no environment: {lack}/env in {scene.namespace}"),
        (("--fs-mode", "read"), f"no files: {lack}/files in {scene.namespace}"),
    ):
        run = scene.start("deploy/cart", "true", options=options, user=mia)
        assert run.wait() == 125
        said = "".join(run.err.seen)
        assert what in said
        assert f"leave out {options[0]}" in said
        assert scene.get("mirrorsessions")["items"] == []


def test_without_the_right_there_are_no_files_and_that_is_said(
    scene: Scene, user: Callable[..., Kubectl]
) -> None:
    mia = user("mia", {scene.namespace: "mirror-run-mirror"}, CONNECT)
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    run = scene.start("deploy/cart", "sh", "-c", f"cat {token} || echo none", user=mia)
    run.said(f"no files: you lack create mirrorsessions/files in {scene.namespace}")
    run.out.wait(lambda line: line == "none\n", "the app's own files")
    assert run.wait() == 0


def test_who_may_develop_has_it_all(scene: Scene, user: Callable[..., Kubectl]) -> None:
    dev = user("dev", {scene.namespace: "mirror-run-develop"}, CONNECT)
    said = scene.run(
        "deploy/cart", "sh", "-c", "curl -sS -m 5 http://cart:8080/; env | grep ^FROM_ENTRYPOINT", user=dev
    )
    assert "FROM_ENTRYPOINT=exported by the entrypoint" in said
    assert "the target answers" in said


def test_who_may_nothing_is_told_what(scene: Scene, user: Callable[..., Kubectl]) -> None:
    """And no Job is tried instead, whatever else this person may."""
    run = scene.start("deploy/cart", "true", user=user("vic", {scene.namespace: "edit"}, CONNECT))
    assert run.wait() == 125
    said = "".join(run.err.seen)
    assert f"you lack create mirrorsessions in {scene.namespace}" in said
    assert "ClusterRole mirror-run-" in said
    assert scene.get("jobs")["items"] == []


def test_events_name_the_ports(scene: Scene, user: Callable[..., Kubectl]) -> None:
    dev = user("dev", {scene.namespace: "mirror-run-develop"}, CONNECT)
    run = scene.record("deploy/cart", "8080", "8090", user=dev)

    def told(reason: str, words: str) -> None:
        for kind in ("Pod", "Deployment"):
            which = f"reason={reason},involvedObject.kind={kind}"
            scene.until(lambda event: words in event["message"], "events", "--field-selector", which)

    told("MirrorSessionBegan", "dev mirrors 8080, 8090 of deploy/cart, with env, files, outgoing")
    run.end()
    told("MirrorSessionEnded", "dev no longer mirrors 8080, 8090 of deploy/cart (")


PATCH = ("patch", "mirrorpolicy", "default", "--type=merge", "-p")
VALUE = 300_000
RATE = 200_000
STORE = f"""
import socket, time
value = b"v" * {VALUE}
open("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read()
sock = socket.create_connection(("cart", 6379))
began = time.monotonic()
sock.sendall(b"*3\\r\\n$3\\r\\nSET\\r\\n$1\\r\\nk\\r\\n$%d\\r\\n%s\\r\\n" % (len(value), value))
assert sock.recv(5) == b"+OK\\r\\n"
stored = time.monotonic()
sock.sendall(b"*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nk\\r\\n")
answer = b""
while not answer.endswith(b"v\\r\\n"):
    answer += sock.recv(65536)
assert value in answer
print(stored - began, time.monotonic() - stored)
"""


def test_what_goes_out_keeps_to_the_policy_and_the_line_says_what_was_used(
    scene: Scene, user: Callable[..., Kubectl]
) -> None:
    dev = user("dev", {scene.namespace: "mirror-run-develop"}, CONNECT)
    scene.kubectl(*PATCH, json.dumps({"spec": {"bytesPerSecond": RATE}}))
    try:
        said = scene.run("deploy/cart", "python3", "-c", STORE, user=dev)
    finally:
        scene.kubectl(*PATCH, json.dumps({"spec": {"bytesPerSecond": 0}}))
    stored, fetched = map(float, said.split()[-2:])
    assert min(stored, fetched) >= (VALUE - RATE / 8) / RATE, said

    line = ended(scene, lambda line: line["bytes_sent"] > VALUE)
    assert line["author"] == "dev"
    assert line["rights"] == ["env", "files", "mirror", "outgoing"]
    assert line["used"] == ["env", "files", "outgoing"], "nothing was mirrored"
    assert line["opened"] >= 2, "the name and the connection"
    assert VALUE < line["bytes_sent"] < VALUE + 10_000
    assert VALUE < line["bytes_received"] < VALUE + 10_000
    assert line["seconds"] > stored + fetched


def test_what_is_stolen_keeps_to_the_policy_too(scene: Scene, user: Callable[..., Kubectl]) -> None:
    tia = user("tia", {scene.namespace: "mirror-run-full"}, CONNECT)
    scene.kubectl(*PATCH, json.dumps({"spec": {"bytesPerSecond": RATE}}))
    try:
        app = ("python3", "/programs/shop.py", "app", "http")
        scene.start("deploy/cart", *app, options=("--steal",), user=tia, stdin=subprocess.PIPE).said(
            "stealing 8080"
        )
        words = (
            "-o",
            "/dev/null",
            "-w",
            "%{size_download} %{time_total}",
            f"http://cart:8080/octets/{VALUE}",
        )
        octets, seconds = scene.inside("client", "curl", "-sS", "-m", "20", *words).split()
    finally:
        scene.kubectl(*PATCH, json.dumps({"spec": {"bytesPerSecond": 0}}))
    assert int(octets) == VALUE
    assert float(seconds) >= (VALUE - RATE / 8) / RATE


READS = """
import hashlib, time
began = time.monotonic()
octets = open("/srv/large", "rb").read()
print(time.monotonic() - began, hashlib.sha256(octets).hexdigest())
"""


def test_what_is_read_of_files_keeps_to_the_policy_too(scene: Scene, user: Callable[..., Kubectl]) -> None:
    dev = user("dev", {scene.namespace: "mirror-run-develop"}, CONNECT)
    make = f"head -c {VALUE} /dev/urandom > /srv/large && sha256sum /srv/large"
    digest = scene.inside(scene.names("cart")[0], "sh", "-c", make).split()[0]
    scene.kubectl(*PATCH, json.dumps({"spec": {"bytesPerSecond": RATE}}))
    try:
        seconds, seen = scene.run("deploy/cart", "python3", "-c", READS, user=dev).split()[-2:]
    finally:
        scene.kubectl(*PATCH, json.dumps({"spec": {"bytesPerSecond": 0}}))
    assert seen == digest
    assert float(seconds) >= (VALUE - RATE / 8) / RATE


def ended(scene: Scene, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """An agent's line about a session of this namespace; it is written after the runner was told goodbye."""
    deadline = time.monotonic() + 20
    while True:
        log = scene.kubectl("logs", "-n", AGENTS, "-l", f"{ROLE}=agent", "--tail=-1")
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        ours = [line for line in lines if line["session"].startswith(f"{scene.namespace}/")]
        for line in ours:
            if wanted(line):
                return line
        assert time.monotonic() < deadline, ours
        time.sleep(0.2)  # kubectl logs --follow has no end either


def test_an_ended_session_ends_its_command(scene: Scene, user: Callable[..., Kubectl]) -> None:
    dev = user("dev", {scene.namespace: "mirror-run-develop"}, CONNECT)
    run = scene.record("deploy/cart", "8080", user=dev)
    begun = time.monotonic()
    scene.kube("delete", "mirrorsessions", "--all")
    assert run.wait() == 125
    assert time.monotonic() - begun < 10
    assert "the session was ended: mirrorsession" in "".join(run.err.seen)


def test_agents_that_are_replaced_take_the_run_up(scene: Scene, user: Callable[..., Kubectl]) -> None:
    """As an upgrade replaces them: the command goes on, and so does mirroring."""
    dev = user("dev", {scene.namespace: "mirror-run-develop"}, CONNECT)
    run = scene.record("deploy/cart", "8080", user=dev)
    kubectl = scene.kubectl
    kubectl("rollout", "restart", "-n", AGENTS, f"daemonset/{AGENT}")
    kubectl("rollout", "status", "-n", AGENTS, f"daemonset/{AGENT}", "--timeout=60s")
    deadline = time.monotonic() + 30
    while not any(
        "/index.html?after" in str(line) for line in run.out.seen
    ):  # no event says that copies come again
        assert time.monotonic() < deadline, "".join(run.err.seen[-40:])
        scene.inside("client", "curl", "-sS", "-m", "5", "http://cart:8080/index.html?after")
        time.sleep(0.2)
    assert run.process.poll() is None
    assert len(scene.kubectl.items("get", "mirrorsessions", "-n", scene.namespace)) == 1


def test_who_drains_is_named_by_ps_and_by_doctor(scene: Scene, user: Callable[..., Kubectl]) -> None:
    """A client in the midst of a request outlives the session: an agent that goes on serves it still."""
    tia = user("tia", {scene.namespace: "mirror-run-full"}, CONNECT)

    def listed(command: str) -> str:
        words = [str(MIRROR_RUN), command, "-n", scene.namespace]
        done = subprocess.run(
            words, env=scene.kubectl.environment(), capture_output=True, text=True, check=False
        )
        return done.stderr + done.stdout

    options = ("--steal", "--http-header", "^x-user: ada$")
    run = scene.start(
        "deploy/cart", "python3", "-c", APP, "tia", options=options, user=tia, stdin=subprocess.PIPE
    )
    run.said("stealing 8080")
    into = scene.kubectl.command("-n", scene.namespace, "exec", "-i", "client", "--")
    with Held(into, SLOW.replace('"target"', '"cart"')) as held:
        assert held.ask() == "begun\n"
        run.end()
        words = "connections that clients began while tia stole from deploy/cart still go through the agent"
        scene.until(
            lambda event: words in event["message"],
            "events",
            "--field-selector",
            "reason=MirrorSessionDrains",
        )
        assert words in listed("ps")
        assert f"draining: pod/{scene.names('cart')[0]}: {words}" in listed("doctor")
        assert held.ask("end") == "the target answers\n"
    scene.until(lambda _: True, "events", "--field-selector", "reason=MirrorSessionDrained")
    assert words not in listed("ps")


def test_who_may_steal(scene: Scene, user: Callable[..., Kubectl]) -> None:
    """And who may not is told so before anything is made."""
    ben = user("ben", {scene.namespace: "mirror-run-develop"}, CONNECT)
    run = scene.start("deploy/cart", "true", options=("--steal",), user=ben)
    assert run.wait() != 0
    assert f"no stealing: you lack create mirrorsessions/steal in {scene.namespace}" in "".join(run.err.seen)
    tia = user("tia", {scene.namespace: "mirror-run-full"}, CONNECT)
    command = ("python3", "-c", APP, "tia")
    run = scene.start("deploy/cart", *command, options=("--steal",), user=tia, stdin=subprocess.PIPE)
    run.said("stealing 8080")
    listed = scene.kube("get", "mirrorsessions", "--no-headers").split()
    assert listed[1:4] == ["tia", "deploy/cart", "steal"]
    answer = scene.inside("client", "curl", "-sS", "-m", "5", "http://cart:8080/")
    assert '"by": "app"' in answer
    run.end()
    assert "by" not in scene.inside("client", "curl", "-sS", "-m", "5", "http://cart:8080/")
