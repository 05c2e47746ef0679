"""A load whose every request has a number and whose every answer says which pod gave it: what failed, what was altered,
and what the app saw of it.

The bystander is the first process of a pod of its own, so that no restart of a kubelet or of the API server ends it, as
one would that `kubectl exec` holds.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.e2e.docker.scene import Run

from .scene import APP, Scene

Json = dict[str, Any]

PORT = 8080

# Answers "POD PATH". As process 1 it does not hear SIGTERM, and so it answers until its grace is over.
SERVER = f"""
import http.server, socket
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_GET(self):
        body = (socket.gethostname() + " " + self.path + "\\n").encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
Server(("", {PORT}), Answer).serve_forever()
"""

# Asks HOST, RATE times a second, each time on a connection of its own, until /tmp/stop is there; then /tmp/told has
# what was answered: number, pod, and the second at which it was. Two more connections are kept, if KEPT is 1.
BYSTANDER = f"""
import http.client, json, os, socket, sys, threading, time
host, rate, kept = socket.gethostbyname(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "1"
answers, failed, altered, lock, went = [], [], [], threading.Lock(), [0]
def numbered():
    with lock:
        went[0] += 1
        return went[0]
def ask(c, path):
    at = time.time()
    try:
        c.request("GET", path); a = c.getresponse(); body = a.read().decode()
    except (OSError, http.client.HTTPException) as e:
        failed.append([path, repr(e), at]); c.close(); return ""
    pod, _, echoed = body.partition(" ")
    if a.status != 200 or echoed != path + "\\n":
        altered.append([path, a.status, body])
    return pod
def fresh():
    c = lambda: http.client.HTTPConnection(host, {PORT}, timeout=15)
    while not os.path.exists("/tmp/stop"):
        began, n, one = time.time(), numbered(), c()
        pod = ask(one, "/n/%d" % n); one.close()
        if pod: answers.append([n, pod, began])
        time.sleep(max(0, began + 4 / rate - time.time()))
def held():
    one, n = http.client.HTTPConnection(host, {PORT}, timeout=15), 0
    while not os.path.exists("/tmp/stop"):
        n += 1; ask(one, "/kept/%d" % n); time.sleep(0.1)
threads = [threading.Thread(target=fresh) for _ in range(4)] + [threading.Thread(target=held) for _ in range(2 * kept)]
[t.start() for t in threads]; [t.join() for t in threads]
open("/tmp/.told", "w").write(json.dumps(dict(answers=sorted(answers), failed=failed, altered=altered)))
os.rename("/tmp/.told", "/tmp/told")
time.sleep(3600)
"""
STOP = "touch /tmp/stop; until test -e /tmp/told; do sleep 0.05; done; cat /tmp/told"

LEAVES = {"preStop": {"exec": {"command": ["sleep", "4"]}}}
"""As a pod behind a Service ends well: it answers until every node's kube-proxy has heard that it goes."""


def target(scene: Scene, replicas: int, name: str) -> str:
    """A deployment of SERVER behind a Service, spread over the nodes, from which nobody is cut off by its going."""
    spec = {"terminationGracePeriodSeconds": 6}
    command = ("python3", "-c", SERVER)
    return scene.deployment(name, replicas, command, {"http": PORT}, spec=spec, lifecycle=LEAVES)


@dataclass(frozen=True, slots=True)
class Answer:
    number: int
    pod: str
    at: float
    """The bystander's clock, seconds; it is this machine's."""


class Bystander:
    """Somebody else who uses the Service all the while, and of whose requests none fails or is answered otherwise."""

    def __init__(self, scene: Scene, host: str, rate: float = 40, kept: bool = False) -> None:
        self.scene, self._pod = scene, f"bystander-{uuid.uuid4().hex[:4]}"
        self._words = ("python3", "-c", BYSTANDER, host, str(rate), str(int(kept)))
        self.answers: list[Answer] = []

    def __enter__(self) -> Self:
        self.scene.pod(self._pod, self._words)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            told = json.loads(self.scene.inside(self._pod, "sh", "-c", STOP))
        finally:
            self.scene.kube("delete", "pod", self._pod, "--grace-period=0", "--force")
        self.answers = [Answer(*one) for one in told["answers"]]
        if error is None:
            trouble = f"failed {told['failed'][:5]}, altered {told['altered'][:5]}"
            assert (len(told["failed"]), len(told["altered"])) == (0, 0), f"of {len(self.answers)}: {trouble}"
            assert len(self.answers) > 50, "hardly anybody asked"


def seen(run: Run, answers: Sequence[Answer]) -> dict[int, list[float]]:
    """When the app saw each number (each time that it did), once it saw the last one of each pod: pods overtake each
    other."""
    lasts = {one.pod: one.number for one in answers}
    missing = set(lasts.values())

    def complete(line: str) -> bool:
        missing.discard(_number(line))
        return not missing

    for line in list(run.out.seen):
        missing.discard(_number(line))
    if missing:
        run.out.wait(complete, f"the last number of each pod, {lasts}")
    found: dict[int, list[float]] = {}
    for line in run.out.seen:
        if number := _number(line):
            found.setdefault(number, []).append(float(json.loads(line)["at"]))
    return found


def _number(line: str) -> int:
    """0: no numbered request."""
    told = re.search(r'"request": "GET /n/(\d+) ', line)
    return int(told[1]) if told else 0


class Readied:
    """When pods of a workload became ready, by this machine's clock, to which Kubernetes' own whole seconds are too
    coarse: a watch while the context lasts, which ends when so many have been seen ready."""

    def __init__(self, scene: Scene, app: str, count: int, patience: float) -> None:
        self.at: dict[str, float] = {}
        self._count = count
        words = ("-n", scene.namespace, "pods", "-l", f"{APP}={app}")
        self._thread = threading.Thread(
            target=lambda: scene.kubectl.until(self._saw, *words, patience=patience), daemon=True
        )

    def _saw(self, pod: Json) -> bool:
        conditions = pod["status"].get("conditions") or ()
        if any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
            self.at.setdefault(pod["metadata"]["name"], time.time())
        return len(self.at) >= self._count

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._thread.join()
            assert len(self.at) >= self._count, (
                f"of {self._count} pods these were ready: {', '.join(self.at)}"
            )
