"""Bystanders that ask the target for as long as a block lasts: who answered, what failed, and how long that took.

Every answer is checked: it is the target's own page, octet by octet, or an app's JSON, or it has failed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from docker.models.containers import Container

# Until stdin says stop; then one line of JSON.
LOAD = r"""
import http.client, json, sys, threading, time
stop, lock, counts, failed = threading.Event(), threading.Lock(), {}, []
def who(status, body):
    if (status, body) == (200, b"the target answers\n"): return "target"
    return json.loads(body)["by"] if status == 200 else None
def one(c, headers={}):
    began = time.time()
    try:
        c.request("GET", "/", headers=headers); a = c.getresponse(); by = who(a.status, a.read())
        with lock: counts[by] = counts.get(by, 0) + 1
        if by is None: raise ValueError(a.status)
    except (OSError, http.client.HTTPException, ValueError) as e:
        with lock: failed.append([repr(e), time.time() - began])
        c.close()
connect = lambda: http.client.HTTPConnection(sys.argv[1], 8080, timeout=10)
def kept():
    c = connect()
    while not stop.is_set(): one(c)
def fresh():
    while not stop.is_set():
        c = connect(); one(c, {"Connection": "close"}); c.close()
threads = [threading.Thread(target=t) for t, n in ((kept, sys.argv[2]), (fresh, sys.argv[3])) for _ in range(int(n))]
[t.start() for t in threads]
sys.stdin.readline(); stop.set(); [t.join() for t in threads]
print(json.dumps({"counts": counts, "failed": failed}))
"""


@dataclass(frozen=True, slots=True)
class Failed:
    """One request that was not answered: with what, and after how many seconds."""

    what: str
    seconds: float


class Load:
    """``kept`` clients with a connection each, ``fresh`` with one for each request. Afterwards: ``by``, ``failed``."""

    def __init__(
        self, client: Container | Sequence[str], host: str = "target", kept: int = 0, fresh: int = 3
    ) -> None:
        """``client``: where, or the words that run a command there and pass its stdin on."""
        self.clients = kept + fresh
        self.by: dict[str, int] = {}
        self.failed: list[Failed] = []
        words = [host, str(kept), str(fresh)]
        into = ["docker", "exec", "-i", str(client.id)] if isinstance(client, Container) else client
        self._process = subprocess.Popen(
            [*into, "python3", "-c", LOAD, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        out, err = self._process.communicate("\n", timeout=60)
        assert out or error[0], err
        told: dict[str, Any] = json.loads(out) if out else {"counts": {}, "failed": []}
        self.by = told["counts"]
        self.failed = [Failed(*one) for one in told["failed"]]

    def nobody_noticed(self, least: int = 100) -> None:
        """All was the target's."""
        assert self.failed == []
        assert self.by.keys() == {"target"}
        assert self.by["target"] > least

    def only_what_was_in_flight(self) -> None:
        """Failed, each at once and by a reset: of a client that has one request at a time no more than one."""
        assert len(self.failed) <= self.clients, self.failed
        for one in self.failed:
            assert "refused" not in one.what, self.failed
            assert one.seconds < 1, self.failed
