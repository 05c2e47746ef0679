"""The shop's API: GET /items/N reads the database, POST /items/N/sold writes it. Equal requests, equal answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2

SHOP = os.environ["SHOP_NAME"]
PORT = 8080
per_thread = threading.local()


def ask(statement: str, *values: object) -> list[tuple]:
    """Rows of one statement, each thread with a connection of its own; once more on a new one if the old one broke."""
    for attempt in (1, 2):
        try:
            if attempt == 2 or not hasattr(per_thread, "connection"):
                per_thread.connection = psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=5)
                per_thread.connection.autocommit = True
            with per_thread.connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall()
        except psycopg2.OperationalError:
            if attempt == 2:
                raise
    return []


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        _, what, number = [*self.path.split("/"), "", ""][:3]
        rows = (
            ask("select name, cents from items where id = %s", int(number))
            if what == "items" and number.isdigit()
            else []
        )
        self.answer(
            200 if rows else 404,
            {"shop": SHOP, "item": rows[0][0], "cents": rows[0][1]} if rows else {"shop": SHOP},
        )

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        number = int(self.path.split("/")[2])
        rows = ask("insert into sold (item, by) values (%s, %s) returning item", number, "api")
        self.answer(201, {"shop": SHOP, "sold": rows[0][0]})

    def answer(self, status: int, content: dict[str, object]) -> None:
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6  # and, by Linux's default, IPv4 too
    daemon_threads = True


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(("::", PORT), Shop).serve_forever()
