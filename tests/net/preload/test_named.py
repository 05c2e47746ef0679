"""Sockets and watches by a path: the same whether a program has the layer, or mirror-init makes its calls."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

import pytest

from runner.files.rules import Mode, Rules, Wishes

from .conftest import App, greeting, supervise


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program; beside it `static`, the same without a layer."""
    folder = tmp_path_factory.mktemp("named")
    source = str(Path(__file__).with_name("named.c"))
    for name, options in (("named", []), ("static", ["-static"])):
        subprocess.run(["gcc", "-O1", *options, "-o", str(folder / name), source], check=True)
    return folder / "named"


def either(app: App, supervised: Path, named: Path, *words: str) -> str:
    """What both say."""
    layered = app.run(str(named), *words).stdout
    assert supervise(app, supervised, str(named.with_name("static")), *words) == layered
    return layered


SERVED = """bind 0 errno 0, cloexec 1
again -1 errno 98
mode 140750, listen 0
connect 0 errno 0, nonblock 1 cloexec 0, uid 0, said welcome
unlink 0, then -1
"""


def test_a_server_of_the_app_s_in_a_folder_of_the_target_s(app: App, supervised: Path, named: Path) -> None:
    """With `read` its socket is in the container, by a name that may be longer than an address is."""
    app.ruled(Rules(Mode.OVERRIDES, Wishes(read_only=("^/srv(/|$)",))))
    long = "/srv/d/sub/deep/" + "x" * 80
    for path in ("/srv/d/app.sock", long):
        assert either(app, supervised, named, "serve", path) == SERVED
    assert not list((app.tree / "srv").rglob("*.sock"))


def test_none_is_made_in_the_target(app: App, supervised: Path, named: Path) -> None:
    script = 'timeout 5 "$0" serve /srv/d/app.sock | head -1'
    said = "bind -1 errno 1, cloexec 1\n"
    assert app.run("bash", "-c", script, str(named)).stdout == said
    words = ("bash", "-c", script, str(named.with_name("static")))
    assert supervise(app, supervised, *words, layered=True) == said


def test_a_server_of_the_target_s(app: App, supervised: Path, named: Path) -> None:
    with greeting(app.tree):
        said = either(app, supervised, named, "talk", "/srv/d/socket")
    assert said == "connect 0 errno 0, nonblock 1 cloexec 0, uid 0, said hello\n\n"
    assert "errno 111" in either(app, supervised, named, "talk", "/srv/d/file")


def test_packets(app: App, supervised: Path, named: Path) -> None:
    """Over a connection that keeps them apart."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(str(app.tree / "srv/d/packets"))
        server.listen()

        def greet() -> None:
            for _ in range(2):
                visitor, _ = server.accept()
                with visitor:
                    visitor.send(b"a packet")

        thread = threading.Thread(target=greet)
        thread.start()
        said = either(app, supervised, named, "packets", "/srv/d/packets")
        thread.join()
    assert said == "connect 0 errno 0, nonblock 1 cloexec 0, uid 0, said a packet\n"


def test_datagrams(app: App, supervised: Path, named: Path) -> None:
    """By each way to send one; without a layer only a connected socket reaches the target."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(app.tree / "srv/d/log"))
        server.settimeout(20)
        said = app.run(str(named), "send", "/srv/d/log", "a line").stdout
        assert said == "sendto 6 errno 0, sendmsg 6 errno 0, connect 0 errno 0, send 6\n"
        assert [server.recv(100) for _ in range(3)] == [b"a line"] * 3
        said = supervise(app, supervised, str(named.with_name("static")), "send", "/srv/d/log", "a line")
        assert said == "sendto -1 errno 2, sendmsg -1 errno 2, connect 0 errno 0, send 6\n"
        assert server.recv(100) == b"a line"
        said = app.run(str(named), "send", "/srv/d/none", "a line").stdout
        assert said == "sendto -1 errno 2, sendmsg -1 errno 2, connect -1 errno 2, send -1\n"


def test_descriptors_are_refused(app: App, named: Path) -> None:
    """Sent over a connection to the target's, or with a datagram to it; one to the container's own passes."""
    with greeting(app.tree):
        assert app.run(str(named), "pass", "/srv/d/socket").stdout == "pass -1 errno 95\n"
        assert app.run(str(named), "pass-to", "/srv/d/socket").stdout == "pass -1 errno 95\n"
    own = app.tmp / "own"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(own))
        assert app.run(str(named), "pass-to", str(own)).stdout == "pass 1 errno 0\n"


def test_watches(app: App, supervised: Path, named: Path) -> None:
    said = either(app, supervised, named, "watch", "/srv/d")
    assert said == "flags 0 1 2048\nwatch 1, the container's 2\nevent 1 made\n"
