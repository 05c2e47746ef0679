"""The shop's client: asks the API steadily, compares every answer octet by octet with what it must be, and keeps count.

One connection is kept open, another is made anew for each question; IPv4 and IPv6 take turns. Once a second a line of
JSON goes to stdout: {"ok": N, "failed": N, "altered": N}.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
import time
from itertools import count, cycle

HOST, PORT = os.environ["API"].split(":")
SHOP = "The Teapot Shop"
EVERY = 0.05
TIMEOUT = 5.0


def expected(number: int, sold: bool) -> tuple[int, bytes]:
    """Status and body of the API's answer about this item (images/stack/schema.sql has the function)."""
    if sold:
        return 201, json.dumps({"shop": SHOP, "sold": number}).encode() + b"\n"
    return 200, json.dumps(
        {"shop": SHOP, "item": f"teapot no. {number}", "cents": number * 137 % 10000}
    ).encode() + b"\n"


def ask(connection: http.client.HTTPConnection, number: int, sold: bool) -> tuple[int, bytes]:
    connection.request(
        "POST" if sold else "GET", f"/items/{number}" + ("/sold" if sold else ""), headers={"Host": HOST}
    )
    answer = connection.getresponse()
    return answer.status, answer.read()


def addresses() -> list[str]:
    """The API's, of both families; waits until it accepts (it may start later than this)."""
    while True:
        try:
            found = sorted(
                {str(entry[4][0]) for entry in socket.getaddrinfo(HOST, int(PORT), type=socket.SOCK_STREAM)}
            )
            for address in found:
                socket.create_connection((address, int(PORT)), TIMEOUT).close()
            return found
        except OSError:
            time.sleep(0.1)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    tally = {"ok": 0, "failed": 0, "altered": 0}
    turn = cycle(addresses())
    kept = http.client.HTTPConnection(next(turn), int(PORT), timeout=TIMEOUT)
    said = time.monotonic()
    for n in count():
        number, sold = n % 100 + 1, n % 10 == 9
        connection = kept if n % 2 else http.client.HTTPConnection(next(turn), int(PORT), timeout=TIMEOUT)
        try:
            tally["ok" if ask(connection, number, sold) == expected(number, sold) else "altered"] += 1
        except (OSError, http.client.HTTPException) as error:
            print(f"web: {error!r}", file=sys.stderr, flush=True)
            tally["failed"] += 1
            connection.close()
        if connection is not kept:
            connection.close()
        if time.monotonic() - said >= 1:
            said = time.monotonic()
            print(json.dumps(tally), flush=True)
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
