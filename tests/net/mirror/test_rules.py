"""Packets the target drops or redirects: what AF_PACKET sees is not what the target gets."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.net.mirror.conftest import Start
from tests.net.mirror.http import ANSWER, answer_each, ask, request, serve
from tests.net.mirror.lab import TARGET4, TCP, Lab, run

REDIRECT = """table inet lab {{
    chain in {{ type nat hook prerouting priority dstnat; tcp dport {seen} redirect to :{real}; }}
}}"""

# As agent/gate does it: what arrives is redirected to it; what it passes on comes over lo from the client's address.
GATE = """table inet lab {{
    map clients {{ type inet_service : ipv4_addr . inet_service; }}
    chain in {{ type nat hook prerouting priority dstnat; iifname != "lo" tcp dport {seen} redirect to :{gate}; }}
    chain own {{ type nat hook postrouting priority srcnat - 10;
        oifname "lo" meta mark {mark} snat ip to tcp sport map @clients; }}
}}"""
MARK = 0x6D72756E

DROPS = """table inet lab {{
    chain in {{ type filter hook input priority filter; tcp dport {port} numgen random mod 100 < 4 drop; }}
    chain out {{ type filter hook output priority filter; tcp sport {port} numgen random mod 100 < 4 drop; }}
}}"""


def test_what_is_redirected_is_shown_where_it_arrives(lab: Lab, mirror: Start) -> None:
    """As a mesh does it. Every connection is over before it is looked up: connection tracking remembers."""
    made = mirror()
    with lab.listen() as listener, lab.listen() as plain:
        real, seen = listener.getsockname()[1], plain.getsockname()[1]
        serve(listener, answer_each)
        serve(plain, answer_each)
        made.ports((TCP, seen, seen))
        with lab.rules(REDIRECT.format(seen=seen, real=real)):
            for number in range(5):
                with lab.connect(TARGET4, seen) as client:
                    ask(client, f"ciphertext{number}")
            with lab.connect(TARGET4, seen) as client:
                ask(client, "ciphertext")
                assert made.counters()["connections"] == 0
                ask(client, "more")
            with lab.connect(TARGET4, seen, where=lab.target) as client:
                ask(client, "plain")
            made.counters()
    assert [one.data for one in made.end()] == [request("plain")]


def test_beside_a_gate_each_request_that_reaches_the_target_is_seen_once(lab: Lab, mirror: Start) -> None:
    """The client's connection with the gate and the gate's with the target have the same four numbers."""
    made = mirror()
    with lab.listen() as listener, lab.listen() as gate:
        seen, door = listener.getsockname()[1], gate.getsockname()[1]
        serve(listener, answer_each)
        made.ports((TCP, seen, seen))
        with lab.connect(TARGET4, seen) as client:
            ask(client, "before")
            made.counters()  # whose socket it is, is looked up while there is one
        with lab.rules(GATE.format(seen=seen, gate=door, mark=MARK)):
            for number in range(8):
                with lab.connect(TARGET4, seen) as client:
                    answered = threading.Thread(target=ask, args=(client, f"number{number}"))
                    answered.start()
                    passed_on(lab, gate, seen, stolen=number % 2 == 1)
                    answered.join()
                    made.counters()
        with lab.connect(TARGET4, seen) as client:
            ask(client, "after")
            made.counters()
    whole = [one.data for one in made.end()]
    assert whole == [
        request(text) for text in ("before", "number0", "number2", "number4", "number6", "after")
    ]


def passed_on(lab: Lab, gate: socket.socket, port: int, *, stolen: bool) -> None:
    """One request: to the target, from its client's own address and port; or answered here."""
    theirs, (address, client_port) = gate.accept()
    with theirs:
        octets = theirs.recv(65536)
        if stolen:
            theirs.sendall(ANSWER)
            return
        with lab.inside(lab.target), socket.socket() as ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
            ours.bind(("0.0.0.0", 0))
            element = f"{{ {ours.getsockname()[1]} : {address} . {client_port} }}"
            run("ip", "netns", "exec", lab.target, "nft", "add", "element", "inet", "lab", "clients", element)
            ours.connect((TARGET4, port))
            ours.sendall(octets)
            theirs.sendall(ours.recv(65536))


@pytest.mark.parametrize("size", [100, 20_000, 3_000_000])
def test_dropped_packets_are_sent_again_and_seen_once(lab: Lab, mirror: Start, size: int) -> None:
    """4 % of what goes in and of what goes out is lost after, or before, the observer saw it."""
    made = mirror()
    body = b"".join(b"%015d\n" % number for number in range(size // 16 + 1))[:size]
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.ports((TCP, port, port))
        with lab.rules(DROPS.format(port=port)):
            for _ in range(3):
                client = lab.connect(TARGET4, port, timeout=60)
                server = listener.accept()[0]
                with client, server:
                    writer = threading.Thread(target=client.sendall, args=(body,))
                    writer.start()
                    got = 0
                    while got < size:
                        got += len(server.recv(65536))
                    writer.join()
        counted = made.counters()
    assert (counted["dropped"], counted["connections"]) == (0, 3)
    assert [one.data for one in made.end()] == [body] * 3
