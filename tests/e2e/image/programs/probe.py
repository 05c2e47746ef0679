"""What a program sees of the network, one named probe at a time, as one JSON line: run in the target and in the app, and compared.

    probe.py NAME HOST [ARGUMENT…]
    probe.py serve

Every probe returns only what must be the same in both places: results, errno names, digests; never ports or times of its own.
"""

from __future__ import annotations

import errno
import hashlib
import json
import select
import socket
import struct
import subprocess
import sys
import threading
import time

import server_pattern


def name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def connect(host: str, port: int, timeout: float = 10.0) -> socket.socket:
    return socket.create_connection((host, port), timeout)


def connect_error(host: str, port: str, timeout: str = "3") -> object:
    """The errno of connect(2), or "connected"; and whether it came at once or had to be waited for."""
    began = time.monotonic()
    try:
        connect(host, int(port), float(timeout)).close()
        result = "connected"
    except TimeoutError:
        result = "timed out here"
    except OSError as error:
        result = name_of(error)
    return [result, "late" if time.monotonic() - began > 1.0 else "at once"]


def unknown_host(host: str) -> object:
    try:
        return sorted({a[4][0] for a in socket.getaddrinfo(host, 80)})
    except socket.gaierror as error:
        return socket.EAI_NONAME == error.errno


def banner(host: str) -> object:
    with connect(host, 7002) as s:
        stream = s.makefile("rwb")
        first = stream.readline()
        stream.write(b"hello\n")
        stream.flush()
        return [first.decode(), stream.readline().decode(), stream.read().decode()]


def half_close_ours(host: str) -> object:
    """We send EOF first and still read the answer."""
    with connect(host, 7003) as s:
        s.sendall(b"y" * 300_000)
        s.shutdown(socket.SHUT_WR)
        return s.makefile("rb").read().decode()


def half_close_theirs(host: str) -> object:
    """They send EOF first; what we write afterwards still arrives."""
    with connect(host, 7004) as s:
        got = len(s.makefile("rb").read())
        s.sendall(b"z" * 200_000)
        s.shutdown(socket.SHUT_WR)
    with connect(host, 7008) as s:
        return [got, s.makefile("rb").read().decode()]


def reset_theirs(host: str) -> object:
    with connect(host, 7005) as s:
        got = s.recv(100)
        s.sendall(b"!")
        try:
            while more := s.recv(100):
                got += more
            return [got.decode(), "eof"]
        except OSError as error:
            return [got.decode(), name_of(error)]


def reset_ours(host: str) -> object:
    s = connect(host, 7007)
    s.sendall(b"abc")
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    with connect(host, 7008) as told:
        return told.makefile("rb").read().decode()


def upload(host: str, octets: str, rate: str = "0") -> object:
    """A known pattern, at most RATE octets a second if given."""
    count, sha, sent, began = int(octets), hashlib.sha256(), 0, time.monotonic()
    with connect(host, 7003) as s:
        s.settimeout(120)
        for piece in server_pattern.pattern(count):
            s.sendall(piece)
            sha.update(piece)
            sent += len(piece)
            if int(rate):
                time.sleep(max(0.0, began + sent / int(rate) - time.monotonic()))
        s.shutdown(socket.SHUT_WR)
        told = s.makefile("rb").read().decode().split()
    return [int(told[0]), told[1] == sha.hexdigest()]


def download(host: str, octets: str) -> object:
    count, sha, want, total = int(octets), hashlib.sha256(), hashlib.sha256(), 0
    with connect(host, 7006) as s:
        s.settimeout(120)
        s.sendall(b"%d\n" % count)
        while got := s.recv(1 << 20):
            sha.update(got)
            total += len(got)
    for piece in server_pattern.pattern(count):
        want.update(piece)
    return [total, sha.digest() == want.digest()]


def many(host: str, count: str) -> object:
    """COUNT connections open at once, each of which must echo its own line."""
    poller, held, echoed = select.epoll(), {}, 0
    for number in range(int(count)):
        s = connect(host, 7001, 30)
        held[s.fileno()] = (s, b"connection %d\n" % number)
        poller.register(s, select.EPOLLIN)
    for s, line in held.values():
        s.sendall(line)
    deadline = time.monotonic() + 60
    while echoed < len(held) and time.monotonic() < deadline:
        for fd, _ in poller.poll(1):
            s, line = held[fd]
            if s.recv(100) == line:
                echoed += 1
    for s, _ in held.values():
        s.close()
    return [len(held), echoed]


def short(host: str, rate: str, seconds: str) -> object:
    """RATE connect–request–answer–close a second for SECONDS; how many failed."""
    failed: list[str] = []
    pause, count = 1 / int(rate), int(rate) * int(seconds)
    began = time.monotonic()

    def worker(first: int) -> None:
        for number in range(first, count, 4):
            time.sleep(max(0.0, began + number * pause - time.monotonic()))
            try:
                with connect(host, 7002, 5) as s:
                    stream = s.makefile("rwb")
                    stream.readline()
                    stream.write(b"%d\n" % number)
                    stream.flush()
                    if stream.readline() != b"250 %d\n" % number:
                        failed.append("altered")
            except OSError as error:
                failed.append(name_of(error))

    workers = [threading.Thread(target=worker, args=(n,)) for n in range(4)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    return [count, failed[:5], len(failed)]


def udp_socket(host: str) -> tuple[socket.socket, str]:
    family, _, _, _, address = socket.getaddrinfo(host, 7001, type=socket.SOCK_DGRAM)[0]
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(5)
    return s, str(address[0])


def udp_connected(host: str, size: str = "5") -> object:
    s, address = udp_socket(host)
    s.connect((address, 7001))
    sent = (b"datagram " * (int(size) // 9 + 1))[: int(size)]
    s.send(sent)
    return [s.recv(65536) == sent, s.getpeername()[:2]]


def udp_many_peers(*hosts: str) -> object:
    """One unconnected socket, several peers: each answer comes from whom it was sent to."""
    s, _ = udp_socket(hosts[0])
    asked = {udp_socket(host)[1]: host for host in hosts}
    for address in asked:
        s.sendto(address.encode(), (address, 7001))
    answers = [s.recvfrom(2048) for _ in asked]
    return sorted([data.decode(), peer[0], peer[1]] for data, peer in answers)


def udp_other_port(host: str) -> object:
    """An unconnected socket hears an answer from a port it did not ask, a connected one does not."""
    s, address = udp_socket(host)
    s.sendto(b"q", (address, 7002))
    heard = s.recvfrom(2048)
    other, _ = udp_socket(host)
    other.connect((address, 7002))
    other.settimeout(1)
    other.send(b"q")
    try:
        return [heard[1][:2], other.recv(100).decode()]
    except TimeoutError:
        return [heard[1][:2], "nothing"]


def udp_refused(host: str) -> object:
    s, address = udp_socket(host)
    s.connect((address, 7999))
    s.send(b"anybody?")
    try:
        return s.recv(100).decode()
    except OSError as error:
        return name_of(error) if not isinstance(error, TimeoutError) else "nothing"


def udp_silent(host: str) -> object:
    s, address = udp_socket(host)
    s.settimeout(1)
    s.sendto(b"anybody?", (address, 7003))
    try:
        return s.recv(100).decode()
    except TimeoutError:
        return "nothing"


def command(*argv: str) -> object:
    """What another program says."""
    return subprocess.run(argv, capture_output=True, text=True, timeout=60).stdout


PROBES = {f.__name__: f for f in (
    connect_error, unknown_host, banner, half_close_ours, half_close_theirs, reset_theirs, reset_ours, upload, download,
    many, short, udp_connected, udp_many_peers, udp_other_port, udp_refused, udp_silent,
    command)}



def serve() -> None:
    """A JSON list of words on each line of stdin is a probe; its result, or what it raised, a line on stdout."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        name, *words = json.loads(line)
        try:
            told = PROBES[name](*words)
        except Exception as error:  # the test shows it
            told = repr(error)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        print(json.dumps(PROBES[sys.argv[1]](*sys.argv[2:])))
