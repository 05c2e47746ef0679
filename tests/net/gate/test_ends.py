"""How a gate ends: nothing is left in the target, and whoever was connected has a reset or a clean end."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.net.gate.conftest import Start
from tests.net.gate.lab import CLIENT4, CLIENT6, TARGET4, TARGET6, Lab, Refused, Rule
from tests.net.mirror.lab import run

pytestmark = pytest.mark.net

FAMILIES = [TARGET4, TARGET6]


def state(lab: Lab) -> dict[str, str]:
    """What a gate could have left in the target."""
    commands = {
        "nft": "nft list ruleset",
        "rule": "ip rule",
        "rule6": "ip -6 rule",
        "route": "ip route show table all",
        "route6": "ip -6 route show table all",
        "sockets": "ss -Hant",
    }
    made = {name: run("ip", "netns", "exec", lab.target, *text.split()) for name, text in commands.items()}
    # What ended in order is remembered for a minute, as it is without a gate; columns are as wide as all lines need.
    lines = (" ".join(line.split()) for line in made["sockets"].splitlines())
    made["sockets"] = "\n".join(line for line in lines if not line.startswith("TIME-WAIT"))
    return made


def settled(lab: Lab, before: dict[str, str]) -> None:
    """The same as before, at once or when the clients' own ends have been heard."""
    deadline = time.monotonic() + 5
    while state(lab) != before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert state(lab) == before


def all_reset(socks: list[socket.socket], within: float) -> None:
    """The kernel has it of each in that time; reading through to it may take longer."""
    told = select.poll()
    waiting = {sock.fileno() for sock in socks}
    for fd in waiting:
        told.register(fd, 0)
    deadline = time.monotonic() + within
    while waiting and (left := deadline - time.monotonic()) > 0:
        for fd, _ in told.poll(left * 1000):
            told.unregister(fd)
            waiting.discard(fd)
    assert not waiting
    for sock in socks:
        with pytest.raises(ConnectionResetError):
            read_to_the_end(sock)


def read_to_the_end(sock: socket.socket) -> None:
    while sock.recv(1 << 20):
        pass


STARTS = """#!/bin/sh
{gate} "$@" &
wait
"""


def test_the_end_of_an_agent_whose_descriptors_stay_open(
    lab: Lab, fast_gate: Start, optimized: Path, tmp_path: Path
) -> None:
    """As those of one do that is killed while a thread of its waits for a disk that hangs. Its part is played by two: a
    shell that starts the gate, and is killed; and this process, which has what the agent has of the gate's sockets.
    """
    starts = tmp_path / "starts"
    starts.write_text(STARTS.format(gate=optimized))
    starts.chmod(0o755)
    with lab.listen(TARGET4) as listener:
        port = listener.getsockname()[1]
        before = state(lab)
        made = fast_gate("anna since 14:02", starts)
        made.want(Rule(port=port))
        with lab.connect(TARGET4, port) as caller:
            made.offered().accept()
            gate = int(Path(f"/proc/{made.pid}/task/{made.pid}/children").read_text())
            ended = os.pidfd_open(gate)
            made.kill()
            all_reset([caller], 2)
        assert select.select([ended], [], [], 20)[0], "the gate has ended too"
        os.close(ended)
        settled(lab, before)


@pytest.mark.parametrize("target", FAMILIES)
def test_killed_over_a_hundred_connections(lab: Lab, fast_gate: Start, target: str) -> None:
    """Idle ones, ones that send, ones that receive, of the app's and of the target's: each is reset within a second."""
    with lab.listen(target) as listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        before = state(lab)
        made = fast_gate()
        made.want(Rule(port=port))
        callers, others = [], []
        for i in range(100):
            caller = stack.enter_context(lab.connect(target, port))
            offer = made.offered()
            if i % 2:
                others.append(stack.enter_context(offer.accept()))
            else:
                offer.refuse()
                others.append(stack.enter_context(listener.accept()[0]))
            caller.sendall(b"x")
            assert others[-1].recv(1) == b"x"
            callers.append(caller)
        for i, (caller, other) in enumerate(zip(callers, others, strict=True)):
            sender = (None, caller, other)[i % 3]
            if sender:
                sender.setblocking(False)
                try:
                    while sender.send(bytes(65536)):
                        pass
                except BlockingIOError:
                    sender.settimeout(20)
        made.kill()
        all_reset([*callers, *others[::2]], within=1)
        with lab.connect(target, port) as caller, listener.accept()[0] as server:
            assert server.getpeername() == caller.getsockname()
            stack.close()
            caller.close()
        settled(lab, before)


@pytest.mark.parametrize(("target", "client"), [(TARGET4, CLIENT4), (TARGET6, CLIENT6)])
@pytest.mark.parametrize("closes", ["client", "server", "reset"])
def test_one_port_of_a_clients_a_thousand_times(
    lab: Lab, fast_gate: Start, target: str, client: str, closes: str
) -> None:
    """As load balancers and probes do. Each reaches the target in its own name, and none waits for a second SYN."""
    made = fast_gate()
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with lab.listen(target) as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port))
        made.link(up=False)
        took = []
        for i in range(1000):
            with lab.inside(lab.client):
                caller = socket.socket(family)
            with caller:
                caller.settimeout(5)
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                caller.bind((client, 45000))
                started = time.monotonic()
                caller.connect((target, port))
                caller.sendall(b"x")
                with listener.accept()[0] as server:
                    assert server.recv(1) == b"x"
                    took.append(time.monotonic() - started)
                    assert server.getpeername()[:2] == (client, 45000), i
                    if closes == "server":
                        server.close()
                        assert caller.recv(1) == b""
                    elif closes == "client":
                        caller.shutdown(socket.SHUT_WR)
                        assert server.recv(1) == b""
                        server.close()
                        assert caller.recv(1) == b""
                    else:
                        linger = b"\1\0\0\0\0\0\0\0"
                        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        caller.close()
                        with pytest.raises(ConnectionResetError):
                            server.recv(1)
        took.sort()
        assert took[980] < 0.05  # the rest is the machine's, which may be busy
        assert took[-1] < 0.9  # a SYN is repeated after a second


@pytest.mark.parametrize("filters", [None, [[[0, "^X-Mine: "]]]], ids=["whole", "filtered"])
def test_an_agent_that_dies_is_no_end_in_order(lab: Lab, gate: Start, filters: object) -> None:
    """Also to a client that has said its own end: half an answer must not look like a whole one."""
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=filters))
        for dies in (False, True):
            with lab.connect(TARGET4, port) as caller:
                caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Mine: 1\r\n\r\n")
                app = made.offered().accept()
                while not app.recv(4096).endswith(b"\r\n\r\n"):
                    pass
                caller.shutdown(socket.SHUT_WR)
                assert app.recv(1) == b""
                part = b"HTTP/1.1 200 OK\r\n\r\npart"
                app.sendall(part)
                assert caller.recv(100) == part
                if dies:
                    app.vanish()
                    made.handed.shutdown(socket.SHUT_RDWR)
                    with pytest.raises(ConnectionResetError):
                        caller.recv(1)
                else:
                    app.close()
                    assert caller.recv(1) == b""


def test_a_drain_lets_everybody_finish(lab: Lab, gate: Start) -> None:
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        before = state(lab)
        made = gate()
        made.want(Rule(port=port))
        with lab.connect(TARGET4, port) as first, made.offered().accept() as app:
            with lab.connect(TARGET4, port) as second:
                made.offered().refuse()
                with listener.accept()[0] as server:
                    made.drain()
                    while "elements" in run(
                        "ip",
                        "netns",
                        "exec",
                        lab.target,
                        "nft",
                        "list",
                        "set",
                        "inet",
                        "mirror-run",
                        "stolen",
                    ):
                        time.sleep(0.01)
                    assert made.called() == "mirror-drains"
                    with lab.connect(TARGET4, port) as third, listener.accept()[0] as direct:
                        assert direct.getpeername() == third.getsockname()
                    for one, other in ((first, app), (second, server)):
                        one.sendall(b"still")
                        assert other.recv(10) == b"still"
                        other.sendall(b"here")
                        assert one.recv(10) == b"here"
                second.close()
            first.shutdown(socket.SHUT_WR)
            assert app.recv(1) == b""
            app.shutdown(socket.SHUT_WR)
            assert first.recv(1) == b""
        assert made.drained() == 0
        settled(lab, before)


def test_a_gate_that_is_needed_again_drains_no_more(lab: Lab, gate: Start) -> None:
    """And says so: its name is what people are told of it."""
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port))
        with lab.connect(TARGET4, port) as first, made.offered().accept() as app:
            made.drain()
            while made.called() != "mirror-drains":
                time.sleep(0.01)
            made.want(Rule(port=port))
            assert made.called() == "mirror-gate"
            with lab.connect(TARGET4, port), made.offered().accept():
                first.sendall(b"still")
                assert app.recv(10) == b"still"


def test_a_drain_that_takes_too_long_resets_and_counts(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port))
        with lab.connect(TARGET4, port) as caller, made.offered().accept():
            made.drain(0)
            assert made.drained() == 1
            with pytest.raises(ConnectionResetError):
                caller.recv(1)


def test_without_its_agent_a_gate_gives_everything_back(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port))
        with lab.connect(TARGET4, port) as mine, lab.connect(TARGET4, port) as theirs:
            app = made.offered().accept()
            made.offered().refuse()
            with listener.accept()[0] as server:
                app.close()
                made.handed.close()
                made.control.close()
                with pytest.raises(ConnectionResetError):
                    mine.recv(1)
                theirs.sendall(b"still")
                assert server.recv(10) == b"still"
            theirs.close()
        made.wait()
        with lab.connect(TARGET4, port) as caller, listener.accept()[0] as server:
            assert server.getpeername() == caller.getsockname()


def test_a_second_gate_is_told_whose_the_first_is(lab: Lab, gate: Start) -> None:
    gate("anna since 14:02 (session k3f)")
    with pytest.raises(Refused) as told:
        gate("bob")
    assert told.value.args == (17, "anna since 14:02 (session k3f)")


def test_what_asks_for_a_door_is_closed(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener, lab.inside(lab.client), socket.socket() as caller:
        made.want(Rule(port=listener.getsockname()[1]))
        caller.settimeout(20)
        with pytest.raises(ConnectionResetError):  # of the one call or of the other
            call(caller, made.door(listener.getsockname()[1]))


def call(caller: socket.socket, port: int) -> None:
    caller.connect((TARGET4, port))
    caller.recv(1)


def test_nothing_of_the_gate_is_inherited(lab: Lab, gate: Start) -> None:
    """It never forks; what it has open is closed on exec all the same, the table's owner first of all."""
    made = gate()
    listed = subprocess.run(["ls", f"/proc/{made.pid}/fd"], capture_output=True, text=True, check=True)
    for fd in listed.stdout.split():
        if int(fd) in (1, 2):
            continue
        with open(f"/proc/{made.pid}/fdinfo/{fd}") as file:
            flags = next(int(line.split()[1], 8) for line in file if line.startswith("flags:"))
        assert flags & 0o2000000, f"fd {fd}"
