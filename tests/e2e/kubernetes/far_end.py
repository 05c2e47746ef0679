"""The server at the far end of forwards, run in a pod: what to do is the first line of each connection.

down N: N octets, then the end is awaited. up N: N octets are taken, then "." is said. echo: what comes goes back.
hold: nothing is read any more. bye: the connection is ended.
"""

import socket
import sys
import threading

CHUNK = 1 << 18


def serve(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line = b""
    while not line.endswith(b"\n"):
        octet = sock.recv(1)
        if not octet:
            return
        line += octet
    verb, _, count = line.decode().strip().partition(" ")
    left = int(count or 0)
    view = memoryview(bytearray(CHUNK))
    if verb == "down":
        while left:
            left -= sock.send(view[: min(left, CHUNK)])
        sock.recv(1)
    elif verb == "up":
        while left:
            got = sock.recv_into(view)
            if not got:
                return
            left -= got
        sock.sendall(b".")
        sock.recv(1)
    elif verb == "echo":
        while got := sock.recv_into(view):
            sock.sendall(view[:got])
    elif verb == "hold":
        threading.Event().wait()


def run(sock: socket.socket) -> None:
    try:
        serve(sock)
    except OSError:
        pass
    finally:
        sock.close()


listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)
print("listening", flush=True)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=run, args=(connection,), daemon=True).start()
