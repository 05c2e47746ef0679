"""The engine restarted during a session: a clear end, and nothing of ours on it afterwards.

The engine is the test's own and has net, mount and pid namespaces of its own. The first is not for tidiness: dockerd
with `--bridge none` deletes the interface docker0 where it runs, which would be the machine's engine's.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from runner import images

from .scene import MIRROR_RUN, PARTS, PATIENCE, ROLE, ROOT, Lines, Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ENDS_WITHIN = 30.0
"""Seconds from the engine's end to the runner's; an orderly stop gives each container 10 s first."""

INIT = "ip link set lo up && echo ready; while read -r _; do :; done"
"""Of the namespaces: reaps what it inherits, and everything in them ends with its standard input."""


@dataclass
class Private:
    """An engine in namespaces of its own, its files below ``home``."""

    home: Path
    holder: subprocess.Popen[str]
    driver: str
    daemon: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.home}/docker.sock"

    def inner(self) -> int:
        """The namespaces' init, as this namespace numbers it."""
        return int(Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()[0])

    def start(self) -> docker.DockerClient:
        (self.home / "daemon.json").write_text("{}")  # the machine's own is not read
        where = [f"--{name}={self.home}/{name}" for name in ("data-root", "exec-root", "pidfile")]
        with (self.home / "log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [
                    *("nsenter", "-t", str(self.inner()), "-n", "-m", "-p", "--", "dockerd"),
                    *("--config-file", f"{self.home}/daemon.json", "--host", self.url),
                    *("--bridge=none", "--iptables=false", f"--storage-driver={self.driver}", *where),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE
        while not self.answers():  # dockerd tells nobody when it listens
            assert self.daemon.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)
        return docker.DockerClient(self.url, timeout=120)

    def answers(self) -> bool:
        """A killed one leaves its socket's file, which then refuses."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            return knock.connect_ex(f"{self.home}/docker.sock") == 0

    def said(self) -> str:
        return (self.home / "log").read_text(errors="replace")[-4000:]

    def stop(self, number: signal.Signals) -> None:
        """Signals dockerd itself (nsenter is its parent), and waits for its end."""
        assert self.daemon is not None
        found = Path(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children").read_text().split()
        os.kill(int(found[0]), number)
        self.daemon.wait(PATIENCE)

    def processes(self) -> list[str]:
        """Ours in these namespaces."""
        mine, found = os.readlink(f"/proc/{self.inner()}/ns/pid"), []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                text = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if os.readlink(path / "ns/pid") == mine and any(
                    part in text for part in (*PARTS, "sleep 300")
                ):
                    found.append(text)
            except OSError:
                continue  # it ended meanwhile
        return found


@pytest.fixture
def private(client: docker.DockerClient) -> Iterator[Private]:
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("an engine of one's own needs root and the program dockerd")
    driver = str(client.info()["Driver"])
    home = Path(tempfile.mkdtemp(prefix="mrt-engine-"))
    holder = subprocess.Popen(
        [
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "bash",
            "-c",
            INIT,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin
    assert holder.stdout
    try:
        assert holder.stdout.readline() == "ready\n"
        assert os.readlink("/proc/self/ns/net") != os.readlink(
            f"/proc/{Private(home, holder, '').inner()}/ns/net"
        )
        made = Private(home, holder, driver)
        yield made
    finally:
        holder.stdin.close()
        holder.wait(PATIENCE)
        holder.stdout.close()
        if "made" in locals() and made.daemon is not None:
            made.daemon.wait(PATIENCE)
        shutil.rmtree(home)


@pytest.fixture(autouse=True)
def tidy() -> None:
    """The machine's engine has no part in this; what is left on the private one is each test's own question."""


def target_on(engine: docker.DockerClient, machine: docker.DockerClient) -> None:
    """Our images moved over, and a web server in the place of a target."""
    names = images.ensure(machine, lambda line: None)
    api: Any = machine.api
    saved = api._get(api._url("/images/get"), params={"names": [names.bridge, names.agent]}, stream=True)
    engine.images.load(api._stream_raw_result(saved, 1 << 20, False))
    ipam = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool("198.19.250.0/24")])
    network = engine.networks.create("mrt-restart", driver="bridge", ipam=ipam)
    engine.containers.run(
        names.agent,
        ["-m", "http.server", "8080"],
        entrypoint="python3",
        name="mrt-restart-target",
        network=network.name,
        init=True,
        detach=True,
    )


def volumes(engine: docker.DockerClient) -> set[str]:
    return {str(volume.name) for volume in engine.volumes.list()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_restarted(client: docker.DockerClient, private: Private, number: signal.Signals) -> None:
    engine = private.start()
    target_on(engine, client)
    before = volumes(engine)
    process = subprocess.Popen(
        [
            str(MIRROR_RUN),
            "--target",
            "container/mrt-restart-target",
            "--",
            "sh",
            "-c",
            "echo up; exec sleep 300",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "DOCKER_HOST": private.url},
    )
    run = Run(process, Lines(process.stdout), Lines(process.stderr))
    try:
        run.out.wait(lambda line: line == "up\n", "the app")
        assert private.processes(), "the processes of a session are not recognised"
        engine.close()
        private.stop(number)
        code = process.wait(ENDS_WITHIN)
    finally:
        if process.poll() is None:
            process.kill()
        run.wait()
    said = "".join(run.err.seen)
    assert code != 0, said
    assert "Traceback" not in said
    # Which part is ended first is the engine's choice; each says so in its own words. An orderly stop may end the
    # command itself by SIGTERM: then its exit code is the run's, and what is said is that the engine answers no more.
    clear = (
        "the engine went away",
        "the bridge ended",
        "the session has ended, and the command with it",
        "the engine does not answer",
    )
    assert any(one in said for one in clear), f"no clear end, code {code}:\n{said}"
    again = private.start()
    try:
        deadline = time.monotonic() + 12
        while True:
            held = again.containers.list(all=True, filters={"label": ROLE}, ignore_removed=True)
            left = [f"{c.name} {c.status}" for c in held], private.processes()
            if not any(left):
                break
            assert time.monotonic() < deadline, f"left: {left}\n{said}\n{private.said()}"
            time.sleep(0.1)
        # Engine 20.10 may forget the agent's anonymous volume when it removes --rm containers at its start: the next
        # run of anybody takes it away.
        env = {**os.environ, "DOCKER_HOST": private.url}
        again.containers.get("mrt-restart-target").start()
        next_run = [str(MIRROR_RUN), "--target", "container/mrt-restart-target", "--", "true"]
        subprocess.run(next_run, stdin=subprocess.DEVNULL, cwd=ROOT, env=env, check=True)
        deadline = time.monotonic() + 12
        while volumes(again) - before:
            assert time.monotonic() < deadline, f"volumes were left: {volumes(again) - before}"
            time.sleep(0.1)
    finally:
        again.close()
        private.stop(signal.SIGTERM)
