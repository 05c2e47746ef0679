"""The shop's API, changed: it says who asked for what. `make demo` runs it in the real one's place.

It is the developer's work in progress: it reads the same database by the same name, with the target's own DATABASE_URL,
and writes to it under a name of its own. Its answers go nowhere.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import psycopg2

per_thread = threading.local()
numbers = count(1)


def ask(statement: str, *values: object) -> tuple:
    """The one row of a statement, each thread with a connection of its own."""
    if not hasattr(per_thread, "connection"):
        per_thread.connection = psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=5)
        per_thread.connection.autocommit = True
    with per_thread.connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.serve("select name from items where id = %s", int(self.path.split("/")[2]))

    def do_POST(self) -> None:
        statement = (
            "insert into sold (item, by) select id, 'the changed api' from items where id = %s returning item"
        )
        self.serve(statement, int(self.path.split("/")[2]))

    def serve(self, statement: str, number: int) -> None:
        began = time.perf_counter()
        what = ask(statement, number)[0]
        took = (time.perf_counter() - began) * 1e3
        address, port = self.client_address[:2]
        said = f"{next(numbers):3}  {self.command:4} {self.path:15} from {address.removeprefix('::ffff:')} port {port}"
        print(f"{said}   db says {what!r} in {took:.1f} ms", flush=True)
        body = json.dumps({"changed": what}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Quiet: serve() says it better."""


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6  # and, by Linux's default, IPv4 too
    daemon_threads = True


if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    print(
        f"host name {socket.gethostname()}, DATABASE_URL {os.environ['DATABASE_URL'].replace('not-a-secret', '…')}",
        flush=True,
    )
    Server(("::", 8080), Shop).serve_forever()
