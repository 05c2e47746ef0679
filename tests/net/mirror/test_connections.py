"""Whole connections: seen once, with their ends, as far as the target took them."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from tests.net.mirror.conftest import Start
from tests.net.mirror.http import ANSWER, answer_each, ask, request, serve
from tests.net.mirror.lab import CLIENT4, TARGET4, TARGET6, TCP, Lab, run


@pytest.mark.parametrize("address", [TARGET4, TARGET6])
def test_a_connection_from_its_syn(lab: Lab, mirror: Start, address: str) -> None:
    made = mirror()
    with lab.listen(address) as listener:
        port = listener.getsockname()[1]
        serve(listener, answer_each)
        made.ports((TCP, port, 8080))
        with lab.connect(address, port) as client:
            own = client.getsockname()
            ask(client, "one")
            ask(client, "two")
        assert made.counters()["connections"] == 1
    (seen,) = made.end()
    form = "[{}]:{}" if ":" in address else "{}:{}"
    assert (seen.kind, seen.target) == (17, 7)
    assert seen.source == form.format(*own)
    assert seen.destination == form.format(address, 8080)
    assert seen.data == request("one") + request("two")
    assert seen.end == "eof"


def test_loopback_is_seen_once(lab: Lab, mirror: Start) -> None:
    made = mirror()
    with lab.listen("127.0.0.1") as listener:
        port = listener.getsockname()[1]
        serve(listener, answer_each)
        made.ports((TCP, port, port))
        with lab.connect("127.0.0.1", port, where=lab.target) as client:
            ask(client, "x")
        made.counters()
    (seen,) = made.end()
    assert seen.data == request("x")
    assert seen.source.startswith("127.0.0.1:")


def test_short_connections_are_all_seen(lab: Lab, mirror: Start) -> None:
    """Each is over long before its packets are looked at: the first by what listens, none by chance."""
    made = mirror()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        serve(listener, answer_each)
        made.ports((TCP, port, port))
        for number in range(300):
            with lab.connect(TARGET4, port) as client:
                ask(client, str(number))
        assert made.counters()["connections"] == 300
    seen = made.end()
    assert sorted(one.data for one in seen) == sorted(request(str(number)) for number in range(300))
    assert {one.end for one in seen} == {"eof"}


def test_a_reset_by_the_client(lab: Lab, mirror: Start) -> None:
    made = mirror()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.ports((TCP, port, port))
        with lab.connect(TARGET4, port) as client, listener.accept()[0] as server:
            client.sendall(b"half a ")
            assert server.recv(100) == b"half a "
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            with pytest.raises(ConnectionResetError):
                server.recv(1)
        made.counters()
    (seen,) = made.end()
    assert (seen.data, seen.end) == (b"half a ", errno.ECONNRESET)


def test_a_reset_by_the_target(lab: Lab, mirror: Start) -> None:
    made = mirror()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.ports((TCP, port, port))
        with lab.connect(TARGET4, port) as client, listener.accept()[0] as server:
            client.sendall(b"hello")
            assert server.recv(100) == b"hello"
            server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            server.close()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        made.counters()
    (seen,) = made.end()
    assert (seen.data, seen.end) == (b"hello", errno.ECONNRESET)


def test_half_close_by_the_client(lab: Lab, mirror: Start) -> None:
    made = mirror()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.ports((TCP, port, port))
        with lab.connect(TARGET4, port) as client, listener.accept()[0] as server:
            client.sendall(b"all of it")
            client.shutdown(socket.SHUT_WR)
            assert server.recv(100) == b"all of it"
            assert server.recv(100) == b""
            server.sendall(b"x" * 100_000)
            server.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        made.counters()
    (seen,) = made.end()
    assert (seen.data, seen.end) == (b"all of it", "eof")


def test_what_the_target_dials_itself_is_not_incoming(lab: Lab, mirror: Start) -> None:
    """Another server's port of the same number."""
    made = mirror()
    with lab.inside(lab.client):
        other = socket.create_server((CLIENT4, 0))
    with other:
        port = other.getsockname()[1]
        made.ports((TCP, port, port))
        serve(other, answer_each)
        with lab.connect(CLIENT4, port, where=lab.target) as client:
            ask(client, "x")
        assert made.counters()["connections"] == 0
    assert made.end() == []


def test_a_client_port_used_again_at_once(lab: Lab, mirror: Start) -> None:
    """Reset, and dialled from the same port: one 4-tuple, many connections."""
    made = mirror()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        serve(listener, answer_each)
        made.ports((TCP, port, port))
        own = 0
        for number in range(20):
            with lab.inside(lab.client):
                client = socket.socket()
            with client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.settimeout(20)
                client.bind((CLIENT4, own))
                own = client.getsockname()[1]
                client.connect((TARGET4, port))
                ask(client, str(number))
        assert made.counters()["connections"] == 20
    seen = made.end()
    assert [one.data for one in seen] == [request(str(number)) for number in range(20)]
    assert {one.source for one in seen} == {f"{CLIENT4}:{own}"}


def test_data_in_the_syn(lab: Lab, mirror: Start) -> None:
    """TCP Fast Open, RFC 7413: the second connection carries the request in its SYN."""
    made = mirror()
    knob = "net.ipv4.tcp_fastopen=3"
    for name in (lab.target, lab.client):
        run("ip", "netns", "exec", name, "sysctl", "-q", "-w", knob)
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
        serve(listener, answer_each)
        made.ports((TCP, port, port))
        for number in range(3):
            with lab.inside(lab.client):
                client = socket.socket()
            with client:
                client.sendto(request(str(number)), socket.MSG_FASTOPEN, (TARGET4, port))
                assert client.recv(100) == ANSWER
        made.counters()
    assert [one.data for one in made.end()] == [request(str(number)) for number in range(3)]


def test_three_thousand_connections_at_once(lab: Lab, mirror: Start) -> None:
    made = mirror()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.ports((TCP, port, port))
        clients, servers = [], []
        try:
            for _ in range(3000):
                clients.append(lab.connect(TARGET4, port))
                servers.append(listener.accept()[0])
            assert made.counters()["connections"] == 3000
            for number, client in enumerate(clients):
                client.sendall(request(str(number)))
            for number, server in enumerate(servers):
                assert server.recv(1000) == request(str(number))
        finally:
            for one in (*clients, *servers):
                one.close()
        counted = made.counters()
    assert (counted["dropped"], counted["lost_packets"]) == (0, 0)
    assert [one.data for one in made.end()] == [request(str(number)) for number in range(3000)]


def test_half_open_connections_push_out_only_their_own_kind(lab: Lab, mirror: Start) -> None:
    """More SYNs than are remembered, none of them ever completed; a live connection and a new one are not disturbed."""
    made = mirror()
    deaf = "type filter hook input priority 0; tcp flags & (syn|ack) == (syn|ack) drop;"
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.ports((TCP, port, port))
        with lab.connect(TARGET4, port) as client, listener.accept()[0] as server:
            client.sendall(b"before ")
            assert server.recv(100) == b"before "
            run("ip", "netns", "exec", lab.client, "nft", f"table inet lab {{ chain in {{ {deaf} }}; }}")
            waiting = []
            try:
                with lab.inside(lab.client):
                    waiting = [socket.socket() for _ in range(5000)]
                for one in waiting:
                    one.setblocking(False)
                    assert one.connect_ex((TARGET4, port)) == errno.EINPROGRESS
                client.sendall(b"after")
                assert server.recv(100) == b"after"
            finally:
                for one in waiting:
                    one.close()
                run("ip", "netns", "exec", lab.client, "nft", "delete", "table", "inet", "lab")
        with lab.connect(TARGET4, port) as client, listener.accept()[0] as server:
            client.sendall(b"new")
            assert server.recv(100) == b"new"
        assert made.counters()["connections"] == 2
    assert [one.data for one in made.end()] == [b"before after", b"new"]
