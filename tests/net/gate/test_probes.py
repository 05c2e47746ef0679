"""The target's own probes keep going to the target; what else comes from the node's address is judged as anybody's."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.net.gate.conftest import Start
from tests.net.gate.lab import CLIENT4, CLIENT6, TARGET4, TARGET6, Gate, Lab, Rule, Session

pytestmark = pytest.mark.net

HTTP, TCP, GRPC = 0, 1, 2
EVERYTHING = [[[1, "."]]]
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS


def kubelets(path: str, agent: str = "kube-probe/1.35") -> bytes:
    """As Go's http.Client writes it for the kubelet."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 198.18.90.1:80",
        f"User-Agent: {agent}",
        "Accept: */*",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def headers(path: str, agent: str, stream: int = 1) -> bytes:
    """HTTP/2: one HEADERS frame, every field literal."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "user-agent": agent}
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    return len(block).to_bytes(3, "big") + b"\x01\x04" + stream.to_bytes(4, "big") + block


@contextmanager
def asked(
    lab: Lab, made: Gate, octets: bytes, *, target: str = TARGET4, rule: Rule, listener: socket.socket
) -> Iterator[str]:
    """Who gets a connection from the node that says this."""
    with lab.connect(target, rule.port) as caller:
        half = len(octets) // 2
        caller.sendall(octets[:half])
        time.sleep(0.01)  # two segments, as far as one can see to it
        caller.sendall(octets[half:])
        with listener.accept()[0] as server:  # it is dialled in any case
            got = b""
            with suppress(ConnectionResetError):  # so it is told that the connection is another's
                got = server.recv(10000)
            if got:
                while len(got) < len(octets):
                    got += server.recv(10000)
                assert got == octets
                assert server.getpeername()[:2] == caller.getsockname()[:2]
                server.sendall(b"answer")
                assert caller.recv(6) == b"answer"
                yield "target"
                return
        with made.offered().accept() as app:
            got = b""
            while len(got) < len(octets):
                got += app.recv(10000)
            assert got == octets
            yield "app"


CASES = [
    (kubelets("/healthz"), "target"),
    (kubelets("/healthz", "curl/8"), "app"),
    (kubelets("/other"), "app"),
    (b"POST /healthz HTTP/1.1\r\nUser-Agent: kube-probe/1\r\n\r\n", "app"),
    (PREFACE + headers("/grpc.health.v1.Health/Check", "kube-probe/1.35 grpc-go/1.72"), "target"),
    (PREFACE + headers("/grpc.health.v1.Health/Check", "grpc-go/1.72"), "app"),
    (PREFACE + headers("/shop.Cart/Add", "kube-probe/1.35"), "app"),
    (b"\x16\x03\x01\x00\x05hello", "target"),
    (b"anything else", "app"),
]


@pytest.mark.parametrize("client", [CLIENT4, CLIENT6])
def test_who_gets_what_comes_from_the_node(lab: Lab, gate: Start, client: str) -> None:
    made = gate()
    target = TARGET6 if ":" in client else TARGET4
    with lab.listen(target) as listener:
        rule = Rule(port=listener.getsockname()[1])
        probes = [[rule.port, HTTP, "/healthz"], [rule.port, GRPC, ""]]
        made.want(rule, nodes=[client], probes=probes)
        for octets, expected in CASES:
            with asked(lab, made, octets, target=target, rule=rule, listener=listener) as got:
                assert got == expected, octets


def test_a_connection_without_a_word_is_the_targets(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port), nodes=[CLIENT4], probes=[[port, TCP, ""]])
        with lab.connect(TARGET4, port) as caller, listener.accept()[0] as server:
            caller.close()
            assert server.recv(1) == b""
        with lab.connect(TARGET4, port) as caller, listener.accept()[0] as server:
            server.sendall(b"I speak first")
            assert caller.recv(100) == b"I speak first"


def test_a_probe_that_a_filter_would_match(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        rule = Rule(port=listener.getsockname()[1], filter=EVERYTHING)
        made.want(rule, nodes=[CLIENT4], probes=[[rule.port, HTTP, "/healthz"]])
        with asked(lab, made, kubelets("/healthz"), rule=rule, listener=listener) as got:
            assert got == "target"
        octets = kubelets("/shop", "curl/8")
        with lab.connect(TARGET4, rule.port) as caller:
            caller.sendall(octets)
            with made.offered().accept() as app:
                assert app.recv(10000) == octets


def test_probes_too_if_that_is_asked_for(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(
            Rule(port=port), sessions=[Session(flags=1)], nodes=[CLIENT4], probes=[[port, HTTP, "/healthz"]]
        )
        with lab.connect(TARGET4, port) as caller:
            caller.sendall(kubelets("/healthz"))
            with made.offered().accept() as app:
                assert app.recv(10000) == kubelets("/healthz")


ACK = b"\0\0\0\4\1\0\0\0\0"
OK, NOT_FOUND = b"\x88", b"\x8d"  # :status 200 and 404, of HPACK's static table


def answer(sock: socket.socket, status: bytes, stream: int) -> None:
    sock.sendall(b"\0\0\1\x01\x05" + stream.to_bytes(4, "big") + status)


def until_headers(sock: socket.socket, stream: int) -> bytes:
    """The header block of that stream, after whatever else comes."""
    while True:
        head = sock.recv(9, socket.MSG_WAITALL)
        assert len(head) == 9, head
        block = (
            sock.recv(int.from_bytes(head[:3], "big"), socket.MSG_WAITALL) if head[:3] != bytes(3) else b""
        )
        if head[3] == 1 and int.from_bytes(head[5:], "big") == stream:
            return block


@pytest.mark.parametrize("waits", ["before its preface", "behind it"])
@pytest.mark.parametrize("by", ["filter", "whole port"])
def test_who_waits_for_the_servers_settings(lab: Lab, gate: Start, by: str, waits: str) -> None:
    """As clients of gRPC do, by NodePort and of the kubelet's: they have the target's; then each request its party."""
    made = gate()
    with lab.listen() as listener:
        rule = Rule(port=listener.getsockname()[1], filter=EVERYTHING if by == "filter" else None)
        made.want(rule, nodes=[CLIENT4], probes=[[rule.port, GRPC, ""]])
        with lab.connect(TARGET4, rule.port) as caller, listener.accept()[0] as server:
            if waits == "behind it":
                caller.sendall(PREFACE)
                assert server.recv(len(PREFACE), socket.MSG_WAITALL) == PREFACE
            server.sendall(SETTINGS)
            assert caller.recv(9, socket.MSG_WAITALL) == SETTINGS
            caller.sendall((PREFACE if waits != "behind it" else b"") + ACK)
            caller.sendall(headers("/shop.Cart/Add", "grpc-go/1.72", 1))
            with made.offered().accept() as app:
                assert app.recv(24, socket.MSG_WAITALL) == PREFACE[:24]
                app.sendall(SETTINGS)
                until_headers(app, 1)
                answer(app, OK, 1)
                assert until_headers(caller, 1) == OK
                caller.sendall(headers("/grpc.health.v1.Health/Check", "kube-probe/1.35 grpc-go/1.72", 3))
                if waits != "behind it":
                    assert server.recv(24, socket.MSG_WAITALL) == PREFACE[:24]
                until_headers(server, 3)
                answer(server, NOT_FOUND, 3)
                assert until_headers(caller, 3) == NOT_FOUND
