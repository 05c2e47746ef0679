"""What goes wrong in a cluster, made to go wrong: only in the one that was started here.

Each of these leaves the cluster as it found it, or waits until it is so again.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import parts
from tests.cluster.cluster import answers
from tests.cluster.kubectl import Json, Kubectl
from tests.cluster.places import CONTROL_NAME, STATE
from tests.cluster.processes import Process

PATIENCE = 60.0
API_SERVER = "kube-apiserver"


def program(part: str, name: str) -> Process:
    """A program of the control plane or of a node ("n1"): "kubelet", "containerd", "kube-proxy"."""
    found = parts.running(part).get(name)
    if found is None:
        raise LookupError(f"{part} runs no {name}, but {', '.join(parts.running(part)) or 'nothing'}")
    return found


def crash(part: str, name: str) -> Process:
    """Kills it. It is started again at once, as systemd would; the new process."""
    old = program(part, name)
    old.send(signal.SIGKILL)
    old.wait(PATIENCE)
    return _new(part, name, old)


def restart_api_server() -> None:
    """Every connection to it is cut; back again when it is ready, some 3 s later."""
    crash(CONTROL_NAME, API_SERVER)
    _wait(answers, "the API server did not come back")


def restart_kubelet(kubectl: Kubectl, node: str) -> None:
    """Containers go on; exec, logs and port-forwards of the node are cut. Back when the kubelet renewed its lease."""

    def renewed(lease: Json) -> bool:
        return bool(lease["spec"]["renewTime"] > since)

    lease = ("-n", "kube-node-lease", "lease", node)
    since = kubectl.json("get", *lease)["spec"]["renewTime"]
    crash(node, "kubelet")
    kubectl.until(renewed, *lease)


@contextmanager
def without(part: str, name: str) -> Iterator[None]:
    """The program is killed and stays away for as long as the context lasts."""
    held = STATE / part / "held" / name
    old = program(part, name)
    held.touch()
    try:
        old.send(signal.SIGKILL)
        old.wait(PATIENCE)
        yield
    finally:
        held.unlink()
        first = parts.init_of(part)
        if first is None:
            raise RuntimeError(f"{part} is gone")
        os.kill(first, signal.SIGHUP)
        _new(part, name, old)
        if name == API_SERVER:
            _wait(answers, "the API server did not come back")


@contextmanager
def drained(kubectl: Kubectl, node: str, *selectors: str) -> Iterator[None]:
    """Every pod of the node that no daemonset owns is evicted; no new one is given to it while the context lasts.

    ``selectors``: only those pods that one of these labels fits, where others use the node too.
    """
    words = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force")
    try:
        for chosen in [["--pod-selector", one] for one in selectors] or [[]]:
            kubectl(*words, *chosen, patience=120)
        yield
    finally:
        kubectl("uncordon", node)


def pids_of(kubectl: Kubectl, namespace: str, pod: str, container: str = "") -> list[int]:
    """Host pids of a pod's container (by default its first), its first process first."""
    status = kubectl.json("-n", namespace, "get", "pod", pod)["status"]
    known = [*status.get("containerStatuses", ()), *status.get("ephemeralContainerStatuses", ())]
    matching = [one for one in known if container in ("", one["name"])]
    if not matching or not matching[0].get("containerID"):
        raise LookupError(f"{namespace}/{pod} has no running container {container or 'at all'}")
    identity = matching[0]["containerID"].rpartition("/")[2]
    return sorted(_members(identity))


def _members(identity: str) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if identity in (folder / "cgroup").read_text():
                yield int(folder.name)
        except OSError:
            continue  # it ended meanwhile


def kill(
    kubectl: Kubectl, namespace: str, pod: str, container: str = "", number: int = signal.SIGKILL
) -> None:
    """Signals every process of a container, from outside: from inside, its process 1 would not hear SIGKILL."""
    found = [process for pid in pids_of(kubectl, namespace, pod, container) if (process := Process.of(pid))]
    if not found:
        raise LookupError(f"{namespace}/{pod} runs no process here")
    for process in found:
        process.send(number)


def _new(part: str, name: str, old: Process) -> Process:
    found: list[Process] = []

    def started() -> bool:
        process = parts.running(part).get(name)
        if process is not None and process != old:
            found.append(process)
        return bool(found)

    _wait(started, f"{name} of {part} was not started again")
    return found[0]


def _wait(true: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)  # another process's start is no event of ours
