"""A pod's volumes in the app, whichever kind of agent reads them: secrets and config maps with their links, tokens, a
read-only root, a user of its own with a group of the volumes'; what is rotated is seen; and a client library of the
cluster works with them as it does in the pod.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.kubectl import Json, Kubectl
from tests.e2e.docker.scene import Lines, Run

from .installation import Standing
from .scene import Images, Scene, wait_left
from .way import way

KINDS = ("job", "daemonset", "ephemeral")
POD = "vault"
UID, GROUP = 1234, 2345

SEEN_WITHIN = 2.0
"""Seconds between the kubelet's change and the app's sight of it."""

VOLUMES: dict[str, Json] = {
    "creds": {"secret": {"secretName": "creds", "defaultMode": 0o400}},
    "config": {"configMap": {"name": "settings"}},
    "token": {
        "projected": {
            "sources": [
                {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 3600}},
                {"configMap": {"name": "settings", "items": [{"key": "colour", "path": "deep/colour"}]}},
                {
                    "downwardAPI": {
                        "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
                    }
                },
            ]
        }
    },
    "scratch": {"emptyDir": {}},
}
MOUNTS = [
    {"name": "creds", "mountPath": "/etc/creds", "readOnly": True},
    {"name": "config", "mountPath": "/app/config"},
    {"name": "config", "mountPath": "/app/one.colour", "subPath": "colour"},
    {"name": "token", "mountPath": "/srv/projected"},
    {"name": "scratch", "mountPath": "/scratch"},
]

LOOK = """
import json, os, stat
def look(path):
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        return ["->", os.readlink(path), os.path.realpath(path)]
    if stat.S_ISDIR(found.st_mode):
        return {name: look(f"{path}/{name}") for name in sorted(os.listdir(path))}
    with open(path, "rb") as file:
        return [oct(found.st_mode), found.st_size, file.read().decode()]
print(json.dumps({path: look(path) for path in
      ("/etc/creds", "/app/config", "/app/one.colour", "/srv/projected", "/scratch", "/etc/hosts", "/etc/hostname",
       "/etc/resolv.conf", "/var/run/secrets/kubernetes.io/serviceaccount")}))
"""

IN_CLUSTER = """
import json
from kubernetes import client, config
config.load_incluster_config()
review = client.ApiClient().call_api("/apis/authentication.k8s.io/v1/selfsubjectreviews", "POST",
    body={"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, response_type="object",
    header_params={"Content-Type": "application/json", "Accept": "application/json"}, auth_settings=["BearerToken"])
print(review[0]["status"]["userInfo"]["username"], client.VersionApi().get_code().major)
"""

WRITES = """
open("/scratch/from-the-app", "w").write("of the app")
open("/app/config/colour", "a").write(", and more")
print(open("/scratch/from-the-app").read(), open("/app/config/colour").read())
"""

POLL = """
import time
seen, paths = {}, ("/etc/creds/password", "/app/config/colour")
while True:
    for path in paths:
        now = open(path).read()
        if seen.get(path) != now:
            seen[path] = now
            print(time.time(), path, now, flush=True)
    time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def stage(cluster: Kubectl, images: Images, installed: Standing) -> Iterator[Scene]:
    """The pod, with all its volumes, and agents on every node."""
    name = f"mrt-files-{uuid.uuid4().hex[:6]}"
    cluster("create", "namespace", name)
    scene = Scene(cluster, name, images)
    scene.kube(
        "create", "secret", "generic", "creds", "--from-literal=password=first", "--from-literal=user=ada"
    )
    scene.kube("create", "configmap", "settings", "--from-literal=colour=red")
    scene.pod(
        POD,
        ("sh", "-c", "echo of the pod > /scratch/mine; exec sleep infinity"),
        spec={
            "securityContext": {"runAsUser": UID, "runAsGroup": UID, "fsGroup": GROUP},
            "volumes": [{"name": name, **what} for name, what in VOLUMES.items()],
        },
        securityContext={"readOnlyRootFilesystem": True},
        volumeMounts=MOUNTS,
    )
    yield scene
    scene.close_runs()
    assert not wait_left(scene)
    cluster("-n", name, "delete", "pods", "--all", "--wait=false", "--grace-period=1")
    cluster("delete", "namespace", name, "--wait=false")


def options(scene: Scene, kind: str) -> tuple[str, ...]:
    return ("--agent", kind, *(() if kind == "daemonset" else ("--agent-image", scene.images.agent)))


def begun(scene: Scene, script: str, *by: str) -> dict[str, Run]:
    """One app for each kind of agent, at once."""
    command = (*(by or ("python3", "-c")), script)
    return {kind: scene.start(f"pod/{POD}", *command, options=options(scene, kind)) for kind in KINDS}


def ended(runs: dict[str, Run]) -> dict[str, str]:
    said = {}
    for kind, run in runs.items():
        code = run.wait()
        said[kind] = "".join(run.out.seen)
        assert code == 0, f"{kind}: {said[kind]}\n{''.join(run.err.seen[-60:])}"
    return said


def test_volumes(stage: Scene) -> None:
    """The same tree of names, links, modes and contents as the pod's own process sees."""
    there = json.loads(stage.inside(POD, "python3", "-c", LOOK))
    assert there["/etc/creds"]["..data"][0] == "->"
    assert there["/scratch"]["mine"][2] == "of the pod\n"
    runs = begun(stage, LOOK)
    for kind, said in ended(runs).items():
        here = json.loads(said)
        for path, found in there.items():
            if path == "/etc/hosts":  # and lines of its own
                assert here[path][2].startswith(found[2]), kind
            else:
                assert here[path] == found, f"{kind}: {path}"
        assert any("read from the target" in line for line in runs[kind].err.seen), kind


def test_a_client_library_in_the_cluster(stage: Scene) -> None:
    """By its service account's token and CA, over the pod's network, unmodified."""
    there = stage.inside(POD, "python3", "-c", IN_CLUSTER)
    assert there.startswith(f"system:serviceaccount:{stage.namespace}:default ")
    assert set(ended(begun(stage, IN_CLUSTER)).values()) == {there}


def test_what_is_written_stays_here(stage: Scene) -> None:
    assert set(ended(begun(stage, WRITES)).values()) == {"of the app red, and more\n"}
    assert stage.inside(POD, "sh", "-c", "ls /scratch; cat /app/config/colour") == "mine\nred"


STATIC = """cat /etc/creds/password; cat /app/config/colour; ls /etc/creds; find /srv/projected -type f | wc -l
cd /app/config && pwd && cat colour; readlink ..data | grep -c .; cat /scratch/none || echo $?"""


def test_programs_without_a_loader(stage: Scene) -> None:
    """A static shell and its tools, and Go's server of a volume: as in the pod, with every kind of agent."""
    there = stage.inside(POD, "busybox", "sh", "-c", STATIC)
    assert there.startswith("firstredpassword\nuser\n")
    go = ("/programs/files-go", "/srv/projected", "/token", "/deep/colour", "/nothing")
    served = [line for line in stage.inside(POD, *go).splitlines() if line.startswith("/")]
    assert len(served) == 3
    run = f"busybox sh -c '{STATIC}'; {' '.join(go)} | grep ^/"
    for kind, said in ended(begun(stage, run, "busybox", "sh", "-c")).items():
        assert said == there + "".join(f"{line}\n" for line in served), kind


WRITES_THERE = """
import os, sys
os.umask(0o002)
os.close(os.open(f"/scratch/{sys.argv[1]}", os.O_CREAT | os.O_WRONLY, 0o666))
os.mkdir(f"/scratch/{sys.argv[1]}.d")
os.close(os.open(f"/scratch/{sys.argv[1]}.d/secret", os.O_CREAT | os.O_WRONLY, 0o600))
"""


def test_what_is_written_there_is_the_process_s_with_the_app_s_umask(stage: Scene) -> None:
    """Not the agent's, whatever kind it is: one beside its target may not give a thread an umask of its own."""
    runs = {
        kind: stage.start(
            f"pod/{POD}",
            *("python3", "-c", WRITES_THERE, kind),
            options=(*options(stage, kind), "--fs-read-write", "^/scratch/"),
        )
        for kind in KINDS
    }
    ended(runs)
    for kind in KINDS:
        names = (f"/scratch/{kind}", f"/scratch/{kind}.d", f"/scratch/{kind}.d/secret")
        made = stage.inside(POD, "stat", "-c", "%a %u %g", *names).splitlines()
        assert [line.split()[0][-3:] for line in made] == ["664", "775", "600"], kind
        assert {line.split()[1] for line in made} == {str(UID)}
        stage.inside(POD, "rm", "-r", *names[:2])


def test_a_rotation_is_seen(stage: Scene) -> None:
    """As soon as the pod's own process sees it, by the swap of ..data."""
    words = ["-n", stage.namespace, "exec", POD, "--", "python3", "-c", POLL]
    beside = subprocess.Popen(stage.kubectl.command(*words), stdout=subprocess.PIPE, text=True)
    there = Lines(beside.stdout)
    runs = begun(stage, POLL)
    try:
        first = ("/etc/creds/password first\n", "/app/config/colour red\n")
        for lines in (there, *(run.out for run in runs.values())):
            for wanted in first:
                at(lines, wanted)
        stage.kube("patch", "secret", "creds", "-p", '{"stringData": {"password": "second"}}')
        stage.kube("patch", "configmap", "settings", "-p", '{"data": {"colour": "green"}}')
        stage.kube("annotate", "pod", POD, "rotated=now")  # or the kubelet looks within a minute
        for wanted in ("/etc/creds/password second\n", "/app/config/colour green\n"):
            changed = at(there, wanted)
            late = {kind: at(run.out, wanted) - changed for kind, run in runs.items()}
            assert max(late.values()) < SEEN_WITHIN, late
    finally:
        beside.kill()
        beside.wait()
        there.rest()


READ_ON = """
import errno, hashlib, os, sys, time
while True:
    began, sum = time.monotonic(), hashlib.sha256()
    try:
        with open("/scratch/large", "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while octets := file.read(1 << 18):
                sum.update(octets)
        said = sum.hexdigest()
    except OSError as error:
        said = errno.errorcode[error.errno]
    print(said, round(time.monotonic() - began, 1), flush=True)
"""

ENDS_WITHIN = 30.0
"""Seconds that a read takes at most while its agent is away: 10 of patience, the link's own end, and a full machine."""


def reading(stage: Scene, user: Kubectl | None = None) -> tuple[Run, str]:
    """An app that reads a file of the pod's over and over, and what it says each time."""
    stage.inside(POD, "sh", "-c", "[ -s /scratch/large ] || head -c 60000000 /dev/urandom > /scratch/large")
    digest = stage.inside(POD, "sha256sum", "/scratch/large").split()[0]
    run = stage.start(f"pod/{POD}", "python3", "-c", READ_ON, options=options(stage, "job"), user=user)
    assert run.out.wait(lambda line: True, "a first read").split()[0] == digest
    return run, digest


def read_anew(run: Run, digest: str) -> None:
    """Reads that were hit may have failed, none has hung, and the next one that is whole is right."""
    run.out.skip()
    run.out.wait(lambda line: line.startswith(digest), "a whole read")
    for line in run.out.seen:
        said, seconds = line.split()
        assert said == digest or said in ("EIO", "ESTALE", "ENOTCONN"), line
        assert float(seconds) < ENDS_WITHIN, line
    run.end()


def test_an_agent_that_is_killed_while_it_reads(stage: Scene) -> None:
    """The app is told of an error or nothing at all, and reads from the next one."""
    run, digest = reading(stage)
    selector = ("-l", "mirror-run.dev/role=agent", "--force", "--grace-period=0", "--wait=true")
    stage.kube("delete", "pods", *selector)
    run.said(" is back")
    read_anew(run, digest)


def test_a_way_that_is_cut_while_it_is_read_by(stage: Scene, cluster: Kubectl, tmp_path: Path) -> None:
    """Resumed: not even an error."""
    with way(cluster, tmp_path) as between:
        run, digest = reading(stage, between.user)
        for _ in range(2):
            run.err.skip()
            between.cut()
            between.heal()
            run.said(" is back")
        read_anew(run, digest)
        assert {line.split()[0] for line in run.out.seen} == {digest}
        stage.close_runs()


def at(lines: Lines, wanted: str) -> float:
    """The time of the line that says so; others may have come before it, and been passed over."""
    for line in lines.seen:
        if line.endswith(wanted):
            return float(line.split()[0])
    return float(lines.wait(lambda line: line.endswith(wanted), wanted).split()[0])
