"""The main job with a pod as the target and agents made for the session: traffic comes, what is sent leaves as the pod,
and nothing is left."""

from __future__ import annotations

import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.kubectl import Kubectl
from tests.e2e.docker.scene import Run

from .scene import Images, Scene, wait_left
from .way import way

ANSWER = "the target answers"
BACK = re.compile(r"link to node \S+ is back, nothing was lost")


@pytest.fixture(scope="module")
def space(cluster: Kubectl, images: Images) -> Iterator[str]:
    """A namespace with target, peer and client, which all tests of this file share."""
    name = f"mrt-main-{uuid.uuid4().hex[:6]}"
    cluster("create", "namespace", name)
    furnished = Scene(cluster, name, images)
    furnished.deployment("cart", env=[{"name": "GIVEN", "value": "yes"}])
    furnished.deployment("peer", command=("python3", "/programs/server.py"), ports={"http": 8080})
    furnished.client()
    yield name
    cluster("-n", name, "delete", "all", "--all", "--wait=false", "--grace-period=1")
    cluster("delete", "namespace", name, "--wait=false")


@pytest.fixture
def scene(cluster: Kubectl, space: str, images: Images) -> Iterator[Scene]:
    stage = Scene(cluster, space, images)
    yield stage
    stage.close_runs()
    assert not wait_left(stage)


@pytest.fixture
def job(images: Images) -> tuple[str, ...]:
    """Agents made for the session."""
    return ("--agent", "job", "--agent-image", images.agent)


def asked(scene: Scene, count: int, host: str = "cart") -> list[str]:
    """So many requests of the client's, each on a connection of its own; what it was answered."""
    url = f"http://{host}:8080/index.html?[1-{count}]"
    words = ("curl", "-sS", "-m", "5", "-H", "Connection: close", url)
    return scene.inside("client", *words).splitlines()


def requests(run: Run, count: int) -> list[int]:
    """The numbers of so many requests, as the app saw them, in order."""
    heads = [str(run.event(port=8080, end="eof")["head"]) for _ in range(count)]
    return sorted(int(re.findall(r"^GET /index.html\?(\d+) ", head)[0]) for head in heads)


def primary(run: Run) -> str:
    """The pod that the first line names."""
    line = next(line for line in run.err.seen if ", target deploy/cart (pod " in line)
    return line.split("(pod ")[1].split(",")[0]


# --- mirror ---------------------------------------------------------------------------------------------------------


def test_requests_arrive_from_the_real_client_and_the_target_answers(
    scene: Scene, job: tuple[str, ...]
) -> None:
    run = scene.record("deploy/cart", "8080", options=job)
    assert asked(scene, 3) == [ANSWER] * 3
    client = scene.address("client")
    seen = [run.event(port=8080, end="eof") for _ in range(3)]
    assert {one["peer"][0] for one in seen} == {client}
    assert sorted(one["head"].split()[1] for one in seen) == [f"/index.html?{i}" for i in (1, 2, 3)]
    run.end()
    assert "3 connections" in "".join(run.err.seen)


def test_an_upload_is_copied_whole(scene: Scene, job: tuple[str, ...]) -> None:
    run = scene.record("deploy/cart", "8090", options=job)
    url = f"http://{scene.address(scene.names('cart')[0])}:8090/upload"
    script = f"head -c 3000000 /dev/zero | curl -sS -T - -H Expect: {url}"
    assert scene.inside("client", "sh", "-c", script) == "kept\n"
    assert run.event(port=8090, end="eof")["octets"] > 3_000_000


def test_it_is_said_where_and_what_is_made(scene: Scene, job: tuple[str, ...]) -> None:
    run = scene.start("deploy/cart", "true", options=job)
    line = run.said("context ")
    pod = scene.names("cart")[0]
    assert f"namespace {scene.namespace}, target deploy/cart (pod {pod}, container main" in line
    run.said("creates a pod with hostPID, SYS_ADMIN")
    assert run.wait() == 0


def test_every_request_to_three_replicas_is_seen_exactly_once(scene: Scene, job: tuple[str, ...]) -> None:
    scene.scale("cart", 3)
    try:
        assert len({pod["spec"]["nodeName"] for pod in scene.pods("cart")}) == 2
        run = scene.start("deploy/cart", "python3", "/programs/record.py", "8080", options=job)
        run.said("(3 containers)")
        assert asked(scene, 1000) == [ANSWER] * 1000
        assert requests(run, 1000) == list(range(1, 1001))
        run.end()
        assert "1000 connections" in "".join(run.err.seen)
    finally:
        scene.close_runs()
        scene.scale("cart", 1)


# --- identity and environment ---------------------------------------------------------------------------------------


def test_hostname_hosts_and_resolv_conf_are_the_pods(scene: Scene, job: tuple[str, ...]) -> None:
    script = ("sh", "-c", "hostname; cat /etc/hosts /etc/resolv.conf")
    assert scene.run("deploy/cart", *script, options=job) == scene.inside("deploy/cart", *script)


def test_environment_is_the_processes(scene: Scene, job: tuple[str, ...]) -> None:
    text = scene.run("deploy/cart", "env", options=(*job, "-e", "MINE=1"))
    variables = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert variables["FROM_ENTRYPOINT"] == "exported by the entrypoint"
    assert (variables["GIVEN"], variables["MINE"]) == ("yes", "1")
    assert variables["KUBERNETES_SERVICE_HOST"]
    assert variables["HOSTNAME"] == scene.names("cart")[0]


# --- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 3, 125])
def test_the_exit_code_is_the_commands(scene: Scene, job: tuple[str, ...], code: int) -> None:
    scene.run("deploy/cart", "sh", "-c", f"exit {code}", code=code, options=job)


def test_sigterm_goes_to_the_command(scene: Scene, job: tuple[str, ...]) -> None:
    script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"
    run = scene.start("deploy/cart", "sh", "-c", script, options=job)
    run.out.wait(lambda line: "up" in line, "the app's first line")
    assert run.end(signal.SIGTERM) == 7


# --- following ------------------------------------------------------------------------------------------------------


def test_the_primary_is_deleted_and_the_app_goes_on_as_its_successor(
    scene: Scene, job: tuple[str, ...]
) -> None:
    """Out through whoever is left, and mirrored from whoever comes."""
    scene.scale("cart", 2)
    try:
        peer = scene.address(scene.names("peer")[0])
        program = f"while read line; do curl -s -m 10 http://{peer}:8080/; done"
        run = scene.start("deploy/cart", "sh", "-c", program, options=job, stdin=subprocess.PIPE)
        before = _out(run)
        gone = primary(run)
        assert before == scene.address(gone)
        (other,) = (scene.address(name) for name in scene.names("cart") if name != gone)
        scene.kube("delete", "pod", gone, "--wait=false")
        run.said("the way out is through")
        assert _out(run) == other
        run.said("is new, and takes part")
        assert run.process.poll() is None
    finally:
        scene.close_runs()
        scene.scale("cart", 1)


def _out(run: Run) -> str:
    """As whom the app goes out just now."""
    assert run.process.stdin is not None
    run.process.stdin.write("\n")
    run.process.stdin.flush()
    return run.out.wait(lambda line: line.strip() != "", "the peer's word").strip()


# --- a way that is cut ----------------------------------------------------------------------------------------------


def test_a_cut_way_loses_no_octet(
    scene: Scene, cluster: Kubectl, job: tuple[str, ...], tmp_path: Path
) -> None:
    """An upload goes on through three cuts, each of every connection to the API server."""
    octets, rate = 30_000_000, 6_000_000
    peer = scene.address(scene.names("peer")[0])
    upload = f"echo up; exec python3 /programs/probe.py upload {peer} {octets} {rate}"
    with way(cluster, tmp_path) as between:
        run = scene.start("deploy/cart", "sh", "-c", upload, options=job, user=between.user)
        run.out.wait(lambda line: line == "up\n", "the app's first line")
        for _ in range(3):
            run.err.skip()
            between.cut()
            between.heal()
            run.err.wait(lambda line: BACK.search(line) is not None, "the way is back")
        said = [line for line in run.err.seen if "link to node" in line]
        assert sum("cut: connections wait up to 60 s" in line for line in said) >= 3, said
        assert run.out.wait(lambda line: line.startswith("["), "the upload's end") == f"[{octets}, true]\n"
        assert run.wait() == 0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_way_cut_for_longer_resets_and_goes_on(
    scene: Scene, cluster: Kubectl, job: tuple[str, ...], tmp_path: Path
) -> None:
    """The agent has ended meanwhile: the app keeps running, and its next words get through."""
    peer = scene.address(scene.names("peer")[0])
    speaks = f"while read line; do curl -s -m 20 http://{peer}:8080/; done"
    program = f"python3 /programs/record.py 8080 & {speaks}"
    with way(cluster, tmp_path) as between:
        run = scene.start(
            "deploy/cart", "sh", "-c", program, options=job, user=between.user, stdin=subprocess.PIPE
        )
        run.event(listening=None)
        before = _out(run)
        between.cut()
        run.said("cut: connections wait up to 60 s")
        run.said("is still cut: its connections are reset", patience=90)
        between.heal()
        run.said_all("is back, its connections were reset", ": mirroring", patience=60)
        assert _out(run) == before == scene.address(scene.names("cart")[0])
        assert asked(scene, 3) == [ANSWER] * 3
        assert requests(run, 3) == [1, 2, 3]
        run.end()  # while there is a way by which to delete what was made


def test_the_app_outlives_its_agent(scene: Scene, job: tuple[str, ...]) -> None:
    """Its Job is deleted by somebody: another is made, and the session goes on in it."""
    run = scene.record("deploy/cart", "8080", options=job)
    scene.kube("delete", "jobs", "-l", "mirror-run.dev/session", "--wait=true")
    run.said("cut: connections wait")
    run.said_all("is back, its connections were reset", ": mirroring")
    assert asked(scene, 3) == [ANSWER] * 3
    assert requests(run, 3) == [1, 2, 3]
    assert run.process.poll() is None


ASK = """
import array, os, socket, struct, sys
def ask(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect("\\0mirror-run/files")
    path = path.encode()
    sock.send(struct.pack("=HHIIIIIHHIqqqqq", 1, 1, 0, 0, 0, 0, 0, len(path), 0, 0, 0, 0, 0, 0, 0) + path)
    answer, fds, _, _ = socket.recv_fds(sock, 4096, 1)
    return os.read(fds[0], 1 << 16).decode() if fds else struct.unpack_from("=i", answer)[0]
print(*map(ask, sys.argv[1:]), open(sys.argv[2]).read(), sep="|", end="")
"""


def test_files_of_a_pod(scene: Scene, job: tuple[str, ...]) -> None:
    token = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
    said = scene.run(
        "deploy/cart",
        "python3",
        "-c",
        ASK,
        "/etc/hostname",
        token,
        "/srv/none",
        options=(*job, "--fs-mode", "read"),
    )
    hostname, by_door, none, by_layer = said.split("|")
    assert hostname.startswith("cart-")
    assert (by_door, none, by_layer) == (scene.namespace, "-2", scene.namespace)
