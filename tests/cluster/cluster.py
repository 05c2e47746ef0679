"""The cluster as a whole: up, down, and whether it stands."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cluster import addons, build, control_plane, images, node, parts, pki
from tests.cluster.kubectl import Kubectl
from tests.cluster.places import (
    CACHE,
    CONTROL,
    CONTROL_NAME,
    HERE,
    HOST,
    HOST_LINK,
    KUBECONFIG,
    KUBECTL,
    LOGS,
    NODES,
    OUT,
    SERVER,
    STATE,
)

Say = Callable[[str], None]

PKI = CACHE / "pki"
MARK = STATE / "made-of"
"""Says what the running cluster was made of; written when it stands."""
KUBE = STATE / "kube"
"""Says where its executable is."""
PATIENCE = 60.0
NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "iptables": "iptables",
    "ipset": "ipset",
    "ip": "iproute2",
    "openssl": "openssl",
    "nsenter": "util-linux",
}
"""Programs and the packages that have them (images/host/packages.txt, group cluster)."""


class ClusterError(Exception):
    """What failed, and what to do."""


@contextmanager
def locked() -> Iterator[None]:
    """One at a time may start or stop it."""
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClusterError(
            f"{CACHE} cannot be made ({error.strerror}): name a folder that can, by XDG_CACHE_HOME"
        ) from error
    with (CACHE / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fingerprint() -> str:
    """Of what a running cluster is made of: a change of any of it is a reason to start it anew."""
    total = hashlib.sha256(build.digest().encode())
    for name in ("addons", "control_plane", "init", "node", "pki", "places", "spec"):
        total.update((HERE / f"{name}.py").read_bytes())
    return total.hexdigest()[:16]


def owner() -> str:
    """The state folder of the cluster whose cable ends on this host; "" if there is none."""
    alias = Path("/sys/class/net", HOST_LINK, "ifalias")
    return alias.read_text().strip() if alias.exists() else ""


def answers() -> bool:
    """Whether the API server is ready."""
    context = ssl.create_default_context(cafile=str(PKI / "ca.crt"))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(f"{SERVER}/readyz", timeout=2) as said:
            return bool(said.read() == b"ok")
    except (OSError, urllib.error.URLError):
        return False


def stands() -> bool:
    return all(parts.init_of(name) for name in (CONTROL_NAME, *(each.name for each in NODES))) and answers()


def up(say: Say, renew: bool = True) -> None:
    """Has it running, and this checkout's kubeconfig and kubectl.

    One that stands is left alone, unless it was made of other sources than these and `renew` says to start it anew: who
    asks for a cluster by name wants what the sources say, a test that finds one takes it as it is.
    """
    check_machine()
    with locked():
        same = MARK.exists() and MARK.read_text() == fingerprint()
        if (same or not renew) and stands():
            door(Path(KUBE.read_text()))
            say(f"stands already{'' if same else ', of other sources: `make cluster` renews it'}")
            return
        if STATE.exists():
            say("what ran before is stopped first")
            _down()
        _up(say)


def _up(say: Say) -> None:
    clock = time.monotonic()

    def phase(text: str) -> None:
        nonlocal clock
        now = time.monotonic()
        say(f"{now - clock:6.1f} s  {text}")
        clock = now

    built = build.ensure(say)
    phase("executable and sandbox image")
    pki.ensure(PKI)
    phase("certificates")
    shutil.rmtree(LOGS, ignore_errors=True)
    try:
        _start_parts(built)
        phase("namespaces and cables")
        _wait(answers, f"the API server is not ready; see {LOGS / CONTROL_NAME}")
        phase("API server ready")
        door(built.kube)
        ask = kubectl()
        ask.apply(*addons.manifests(built.kube))
        for each in NODES:
            ask("wait", "--for=create", f"node/{each.name}", "--timeout=60s", patience=70)
            ask("wait", "--for=condition=Ready", f"node/{each.name}", "--timeout=60s", patience=70)
        phase("nodes ready")
        ask("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s", patience=70)
        phase("names are answered")
    except BaseException:
        say(f"did not come up; the logs stay in {LOGS}")
        _down(keep_logs=True)
        raise
    KUBE.write_text(str(built.kube))
    MARK.write_text(fingerprint())
    say(f"stands: {KUBECONFIG}, or {KUBECTL.relative_to(OUT.parent.parent)}")


def _start_parts(built: build.Built) -> None:
    mounts, trees = parts.cgroup_views(CONTROL_NAME)
    STATE.mkdir(parents=True, exist_ok=True)
    centre = parts.start(control_plane.part(built.kube, PKI, mounts, trees))
    middle = parts.wait_for_init(CONTROL_NAME, centre)
    parts.cable(None, HOST_LINK, middle, control_plane.port("host"))
    parts.ip("address", "add", f"{HOST}/24", "dev", HOST_LINK)
    parts.ip("link", "set", HOST_LINK, "alias", str(STATE), "up")
    for each in NODES:
        each.folder.mkdir(parents=True, exist_ok=True)
        mounts, trees = parts.cgroup_views(each.name)
        started = parts.start(node.part(each, built, PKI, mounts, trees))
        parts.cable(middle, control_plane.port(each.name), parts.wait_for_init(each.name, started), node.LINK)


DOOR = """#!/bin/sh
# kubectl, as new as the test cluster, and for it unless KUBECONFIG or --kubeconfig says another
here=$(dirname "$(readlink -f "$0")")
: "${{KUBECONFIG:=$here/{kubeconfig}}}"
export KUBECONFIG NO_PROXY="$NO_PROXY,{address}"
exec {kube} kubectl "$@"
"""


def door(kube: Path) -> None:
    """This checkout's kubeconfig and kubectl."""
    OUT.mkdir(parents=True, exist_ok=True)
    text = (PKI / f"{pki.ADMIN}.conf").read_text()
    if not KUBECONFIG.exists() or KUBECONFIG.read_text() != text:
        KUBECONFIG.write_text(text)
        KUBECONFIG.chmod(0o600)
    KUBECTL.write_text(DOOR.format(kubeconfig=KUBECONFIG.name, address=CONTROL, kube=kube))
    KUBECTL.chmod(0o755)


def kubectl() -> Kubectl:
    """As the cluster's administrator."""
    return Kubectl(str(KUBECTL), KUBECONFIG)


def down(say: Say) -> None:
    with locked():
        if not STATE.exists():
            say("does not run")
        else:
            _down()
            say("stopped")
    KUBECONFIG.unlink(missing_ok=True)
    KUBECTL.unlink(missing_ok=True)


def _down(keep_logs: bool = False) -> None:
    """In this order: nodes, then what they talk to."""
    for name in (*(each.name for each in NODES), CONTROL_NAME):
        parts.stop(name)
    if keep_logs:
        MARK.unlink(missing_ok=True)
    else:
        shutil.rmtree(STATE, ignore_errors=True)
    if owner() == str(STATE):  # it goes with its namespace, but the kernel may take a minute to come to that
        with suppress(RuntimeError):
            parts.ip("link", "delete", HOST_LINK)


def _wait(true: Callable[[], bool], otherwise: str, patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not true():
        if time.monotonic() > deadline:
            raise ClusterError(otherwise)
        time.sleep(0.05)


def check_machine() -> None:
    """Says what is missing before anything is done."""
    if os.geteuid() != 0 or os.uname().sysname != "Linux":
        raise ClusterError(
            "only root on Linux can start a cluster here; a cluster of your own: MIRROR_RUN_TEST_KUBECONFIG=FILE"
        )
    if owner() not in ("", str(STATE)):
        raise ClusterError(
            f"another cluster of these tests stands on this machine, with its state in {owner()}; there is room for "
            "one: stop it (`make cluster-down`, with its XDG_CACHE_HOME), or use it by MIRROR_RUN_TEST_KUBECONFIG"
        )
    missing = sorted({package for program, package in NEEDED.items() if not shutil.which(program)})
    if not Path(node.PLUGINS, "bridge").exists():
        missing.append("containernetworking-plugins")
    if missing:
        raise ClusterError(
            f"missing: {' '.join(missing)}; images/host/install.sh cluster installs them on Debian and Ubuntu"
        )


def status() -> str:
    """A sentence for people, a line for each program."""
    if not STATE.exists():
        return "does not run"
    lines = ["stands" if stands() else "is broken; `make cluster` starts it anew"]
    for name in (CONTROL_NAME, *(each.name for each in NODES)):
        programs = parts.running(name)
        lines += [
            f"  {name:8} {program:24} pid {process.pid}"
            for program, process in programs.items()
            if "shim" not in program
        ]
    lines += [
        f"  {each.name:8} images: {', '.join(images.present(each)) or 'none'}" for each in NODES if stands()
    ]
    return "\n".join(lines)
