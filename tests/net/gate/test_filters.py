"""A port stolen by filter: what matches is the app's, request by request; all else is the target's, octet for octet."""

from __future__ import annotations

import select
import socket
import threading
import time

import pytest

from tests.net.gate.conftest import Start
from tests.net.gate.lab import TARGET4, TARGET6, Gate, Lab, Rule, Session

pytestmark = pytest.mark.net

HEADER, PATH, METHOD = 0, 1, 2
MINE = [[[HEADER, "^x-mine: 1$"]]]


def request(path: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"POST {path} HTTP/1.1" if body else f"GET {path} HTTP/1.1", "Host: shop", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(text: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


def exactly(sock: socket.socket, n: int) -> bytes:
    got = b""
    while len(got) < n:
        part = sock.recv(n - len(got))
        if not part:
            break
        got += part
    return got


def talk(
    sock: socket.socket, asked: bytes, other: socket.socket, answered: bytes, back: socket.socket
) -> None:
    """Asked at `sock`, it arrives at `other` as it was; and the answer comes back."""
    sock.sendall(asked)
    assert exactly(other, len(asked)) == asked
    other.sendall(answered)
    assert exactly(back, len(answered)) == answered


@pytest.mark.parametrize("target", [TARGET4, TARGET6])
def test_alternating_on_one_connection(lab: Lab, gate: Start, target: str) -> None:
    made = gate()
    with lab.listen(target) as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE))
        with lab.connect(target, port) as caller, listener.accept()[0] as server:
            assert server.getpeername()[:2] == caller.getsockname()[:2]
            talk(caller, request("/one"), server, answer("target"), caller)
            mine = request("/two", "X-Mine: 1", body=b"body")
            caller.sendall(mine)
            offer = made.offered()
            assert offer.client == caller.getsockname()[:2]
            with offer.accept() as app:
                assert exactly(app, len(mine)) == mine
                app.sendall(answer("app"))
                assert exactly(caller, len(answer("app"))) == answer("app")
                talk(caller, request("/three"), server, answer("target"), caller)
                talk(caller, request("/four", "x-mine:   1"), app, answer("again"), caller)
                talk(caller, request("/five"), server, answer("target"), caller)
                caller.shutdown(socket.SHUT_WR)
                assert server.recv(1) == b""
                server.close()
                assert caller.recv(1) == b""


def test_a_server_that_speaks_first(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE))
        with lab.connect(TARGET4, port) as caller, listener.accept()[0] as server:
            server.sendall(b"220 ready\r\n")
            assert caller.recv(100) == b"220 ready\r\n"
            talk(caller, b"\x00\x01binary", server, b"\x02", caller)
            caller.shutdown(socket.SHUT_WR)
            assert server.recv(1) == b""
            server.sendall(b"late")
            server.close()
            assert exactly(caller, 5) == b"late"


@pytest.mark.parametrize(
    "octets", [b"\x16\x03\x01\x00\x05hello", b"\x00\x00\x00\x08\x04\xd2\x16/", b"GET\x01/ nonsense\r\n\r\n"]
)
def test_what_is_no_http_is_passed_on(lab: Lab, gate: Start, octets: bytes) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE))
        with lab.connect(TARGET4, port) as caller, listener.accept()[0] as server:
            talk(caller, octets, server, b"answer", caller)
            big = bytes(range(256)) * 4096
            sender = threading.Thread(target=caller.sendall, args=(big,))
            sender.start()
            assert exactly(server, len(big)) == big
            sender.join()
            server.close()
            assert caller.recv(1) == b""
        if octets[0] == 0x16:
            made.drain()
            made.drained()
            assert made.counts[1, port][4] == 1


def test_what_the_app_refuses_and_no_link(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE))
        with lab.connect(TARGET4, port) as caller, listener.accept()[0] as server:
            mine = request("/", "X-Mine: 1")
            caller.sendall(mine)
            made.offered().refuse()
            assert exactly(server, len(mine)) == mine
            server.sendall(answer("target"))
            assert exactly(caller, len(answer("target"))) == answer("target")
            made.link(up=False)
            talk(caller, mine, server, answer("target"), caller)
            made.link(up=True)
            while True:  # the link's message and the client's octets come by two ways
                caller.sendall(mine)
                if who(made, server) == "app":
                    break
                assert exactly(server, len(mine)) == mine
                server.sendall(answer("target"))
                assert exactly(caller, len(answer("target"))) == answer("target")
            with made.offered().accept() as app:
                assert exactly(app, len(mine)) == mine
                app.sendall(answer("app"))
                assert exactly(caller, len(answer("app"))) == answer("app")


def who(made: Gate, server: socket.socket) -> str:
    ready = select.select([made.handed, server], [], [], 20)[0]
    return "app" if made.handed in ready else "target"


@pytest.mark.parametrize(("gone", "seen"), [(0, b"HTTP/1.1 200 OK"), (1, b"HTTP/1.1 502 Bad"), (2, None)])
def test_an_app_that_goes_before_it_has_answered(
    lab: Lab, gate: Start, gone: int, seen: bytes | None
) -> None:
    """Of a request that it was given: the session says what then. What it was not given yet is the target's."""
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE), sessions=[Session(on_app_gone=gone)])
        with lab.connect(TARGET4, port) as caller, listener.accept()[0] as server:
            mine = request("/", "X-Mine: 1")
            caller.sendall(mine)
            offer = made.offered()
            if gone == 0:
                offer.refuse()
                assert exactly(server, len(mine)) == mine
                server.sendall(answer("target"))
            else:
                app = offer.accept()
                assert exactly(app, len(mine)) == mine
                offer.reset()
            if seen:
                assert exactly(caller, len(seen)) == seen
            else:
                with pytest.raises(ConnectionResetError):
                    caller.recv(1)


def test_a_kept_app_that_closes_as_a_request_comes(lab: Lab, gate: Start) -> None:
    """Without a word of an answer: a safe request is asked of the target, on the client's own connection there."""
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE))
        mine = request("/", "X-Mine: 1")
        for resets in (False, True):
            with lab.connect(TARGET4, port) as caller, listener.accept()[0] as server:
                caller.sendall(mine)
                offer = made.offered()
                app = offer.accept()
                assert exactly(app, len(mine)) == mine
                app.sendall(answer("app"))
                assert exactly(caller, len(answer("app"))) == answer("app")
                caller.sendall(mine)
                assert exactly(app, len(mine)) == mine
                if resets:
                    offer.reset()
                else:
                    app.shutdown(socket.SHUT_WR)
                assert exactly(server, len(mine)) == mine
                server.sendall(answer("target"))
                assert exactly(caller, len(answer("target"))) == answer("target")
                app.close()


def test_two_sessions_the_older_is_asked_first(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        rules = [
            Rule(port=port, session=2, filter=[[[PATH, "^/b"]], [[PATH, "^/both"]]]),
            Rule(port=port, session=1, filter=[[[PATH, "^/a"]], [[PATH, "^/both"]]]),
        ]
        made.want(*rules, sessions=[Session(2, since=200), Session(1, since=100)])
        for path, session in (("/a", 1), ("/b", 2), ("/both", 1)):
            with lab.connect(TARGET4, port) as caller, listener.accept()[0]:
                asked = request(path)
                caller.sendall(asked)
                offer = made.offered()
                assert offer.session == session
                with offer.accept() as app:
                    assert exactly(app, len(asked)) == asked
                    app.sendall(answer(path))
                    assert exactly(caller, len(answer(path))) == answer(path)
        made.want(rules[0], sessions=[Session(2, since=200)])
        with lab.connect(TARGET4, port) as caller, listener.accept()[0] as server:
            talk(caller, request("/a"), server, answer("target"), caller)
            caller.sendall(request("/both"))
            assert made.offered().session == 2


def test_a_filter_that_is_refused_says_why_and_changes_nothing(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE))
        with pytest.raises(Exception, match=r"\(") as told:
            made.want(Rule(port=port, filter=[[[HEADER, "("]]]))
        assert "(" in told.value.args[1]
        with lab.connect(TARGET4, port) as caller, listener.accept()[0]:
            caller.sendall(request("/", "X-Mine: 1"))
            assert made.offered().session == 1


def test_counts_and_the_last_line(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE))
        with lab.connect(TARGET4, port) as caller, listener.accept()[0] as server:
            for i in range(5):
                talk(caller, request(f"/{i}"), server, answer("target"), caller)
            caller.close()
            assert server.recv(1) == b""
        made.drain()
        made.drained()
        seen, matched, stolen, _, tls, line = made.counts[1, port]
        assert (seen, matched, stolen, tls) == (5, 0, 0, 0)
        assert line.startswith("GET /4")


def test_many_octets_both_ways_with_a_slow_reader(lab: Lab, gate: Start) -> None:
    """An answer of the target's that the client does not read: bounded in the gate, and whole in the end."""
    made = gate()
    body = bytes(range(256)) * (64 * 1024)
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE))
        with lab.connect(TARGET4, port) as caller, listener.accept()[0] as server:
            asked = request("/big")
            caller.sendall(asked)
            assert exactly(server, len(asked)) == asked
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            sender = threading.Thread(target=server.sendall, args=(head + body,))
            sender.start()
            while backlog_is_growing(made):
                time.sleep(0.05)
            assert exactly(caller, len(head) + len(body)) == head + body
            sender.join()
            talk(caller, request("/next"), server, answer("target"), caller)


def backlog_is_growing(made: Gate) -> bool:
    """Whether the gate still works: its CPU time in 50 ms."""
    before = cpu(made)
    time.sleep(0.05)
    return cpu(made) != before


def cpu(made: Gate) -> str:
    with open(f"/proc/{made.pid}/schedstat") as file:
        return file.read()
