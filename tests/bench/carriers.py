"""Who carries the app's packets to the server: nobody (loopback), each peer, and the product. One context
manager each.

Inside ``with``, the client in ``carried.app`` reaches SERVER, and ``carried.pids`` are the carrier's own
processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import peers
from tests.bench.spaces import APP_ADDRESS, APP_GATEWAY, APP_NET, MTU, SERVER, Space, space


@dataclass(frozen=True, slots=True)
class Carried:
    """A way from the app to the server that is up. ``server`` is the address where the app finds it."""

    app: Space
    pids: list[int] = field(default_factory=list)
    server: str = SERVER


Carrier = Callable[[Space], "contextlib.AbstractContextManager[Carried]"]


@contextlib.contextmanager
def loopback(host: Space) -> Iterator[Carried]:
    """The kernel alone: client and server in one namespace. The ceiling, not a peer."""
    yield Carried(host)


@contextlib.contextmanager
def slirp4netns(host: Space) -> Iterator[Carried]:
    """libslirp behind a TAP device; it says on a descriptor when it is ready."""
    with space("mr-bench-slirp") as app:
        ready, ready_in = os.pipe()
        words = ["slirp4netns", "--configure", f"--mtu={MTU}", "--disable-host-loopback", f"--cidr={APP_NET}"]
        words += [f"--ready-fd={ready_in}", "--netns-type=path", app.path, "tap0"]
        with running(host.command(*words), pass_fds=(ready_in,)) as process:
            os.close(ready_in)
            with os.fdopen(ready, "rb") as told:
                if told.read(1) != b"1":
                    raise RuntimeError(f"slirp4netns: {said(process)}")
            yield Carried(app, [process.pid])


@contextlib.contextmanager
def pasta(host: Space) -> Iterator[Carried]:
    """passt's namespace mode: TAP device, splices sockets; no copy of its own of TCP's state where the kernel
    has it.
    """
    with space("mr-bench-pasta") as app:
        words = [
            "pasta",
            "-f",
            "--netns-only",
            "--netns",
            app.path,
            "--config-net",
            "-m",
            str(MTU),
            "-I",
            "tap0",
        ]
        words += ["-a", APP_ADDRESS, "-n", "24", "-g", APP_GATEWAY, "-i", "out0", "-4"]
        words += ["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--runas", "0"]
        with running(host.command(*words)) as process:
            wait_for_address(app, "tap0", process)
            yield Carried(app, [process.pid])


@contextlib.contextmanager
def sing_box(host: Space) -> Iterator[Carried]:
    """gVisor's TCP/IP stack behind a TUN device, in Go; its sockets are made in the other namespace."""
    program = peers.go_program(peers.SING_BOX)
    config = {
        "log": {"level": "error"},
        "inbounds": [
            {
                "type": "tun",
                "interface_name": "tun0",
                "address": ["198.19.0.1/30"],
                "mtu": min(MTU, 65535),
                "auto_route": True,
                "stack": "gvisor",
            }
        ],
        "outbounds": [{"type": "direct", "netns": host.path}],
    }
    with space("mr-bench-sing") as app, tempfile.TemporaryDirectory(prefix="mr-bench-") as folder:
        path = Path(folder, "config.json")
        path.write_text(json.dumps(config))
        with running(app.command(str(program), "run", "-c", str(path), "-D", folder)) as process:
            wait_for_address(app, "tun0", process)
            yield Carried(app, [process.pid])


PEERS: dict[str, Carrier] = {"slirp4netns": slirp4netns, "pasta": pasta, "sing-box": sing_box}


@contextlib.contextmanager
def running(words: list[str], pass_fds: tuple[int, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """A carrier's process, ended with the block. Its output goes to a file, which is read when it fails."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=pass_fds
        )
        OUTPUT[process.pid] = output.fileno()
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            del OUTPUT[process.pid]


OUTPUT: dict[int, int] = {}


def said(process: subprocess.Popen[bytes]) -> str:
    """What a process of ours wrote so far."""
    return os.pread(OUTPUT[process.pid], 4000, 0).decode(errors="replace").strip()


def wait_for_address(
    app: Space, interface: str, process: subprocess.Popen[bytes], patience: float = 10
) -> None:
    """Until the interface has an address and there is a default route by it: these carriers have no other
    sign.
    """
    until = time.monotonic() + patience
    while True:
        addresses = json.loads(app.run("ip", "-j", "-4", "address") or "[]")
        there = any(a.get("ifname") == interface and a.get("addr_info") for a in addresses)
        if there and "dev " + interface in app.run("ip", "-4", "route", "get", SERVER):
            return
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{interface} did not come up: {said(process)}")
        time.sleep(0.05)  # it is another program's; nothing tells us
