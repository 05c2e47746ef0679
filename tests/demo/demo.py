"""`make demo`: the main job, shown on the stack of compose.yaml to a person at a terminal, and judged. Ends by itself.

Exit code 0 only if everything that it claims was so: requests came with the real client's address, the database was
reached by its name, the stack's own client saw nothing, nothing is left.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

import docker
from inventory import KINDS, Inventory, take

from runner import images

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MIRROR_RUN = ROOT / ".venv" / "bin" / "mirror-run"
PROJECT = "mirror-run-demo"
TARGET = "compose/api"
REQUESTS = 60
"""How many requests the changed api is to see."""
SHOWN = 12
PATIENCE = 60.0
"""Seconds for anything that is waited for."""
NOTHING_LEFT_WITHIN = 10.0


class Failed(Exception):
    """The demo's claim that does not hold."""


def say(text: str = "") -> None:
    print(text, flush=True)


def claim(holds: bool, text: str) -> None:
    if not holds:
        raise Failed(text)
    say(f"  ✓ {text}")


class Lines:
    """The lines of a stream, shown as they come and handed out one by one; the end is None."""

    def __init__(self, stream: IO[str], show: Callable[[str], None]) -> None:
        self.queue: queue.Queue[str | None] = queue.Queue()
        self._show = show
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._show(line.rstrip("\n"))
            self.queue.put(line.rstrip("\n"))
        self.queue.put(None)

    def matching(self, pattern: str, what: str) -> Iterator[re.Match[str]]:
        """Those that match. Failed when none came for a while."""
        while True:
            try:
                line = self.queue.get(timeout=PATIENCE)
            except queue.Empty:
                raise Failed(f"{what}: nothing for {PATIENCE:.0f} s") from None
            if line is None:
                raise Failed(f"{what}: ended before it came")
            if found := re.search(pattern, line):
                yield found


class Web:
    """What the stack's own client counts: a line of JSON each second, of which only the newest matters."""

    def __init__(self, name: str) -> None:
        self.process = subprocess.Popen(["docker", "logs", "-f", name], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.lines = Lines(self.process.stdout, lambda line: None)

    def next(self) -> dict[str, int]:
        """The next count that is said from now on."""
        while not self.lines.queue.empty():
            self.lines.queue.get()
        tally: dict[str, int] = json.loads(next(self.lines.matching(r"^\{", "web's count")).string)
        return tally

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def compose() -> list[str]:
    """The command that reads compose.yaml: v2 if it is here."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose", "-p", PROJECT]
    if shutil.which("docker-compose"):
        return ["docker-compose", "-p", PROJECT]
    raise Failed("neither `docker compose` nor docker-compose is here (`make compose` installs one)")


@contextmanager
def stack(base: str) -> Iterator[None]:
    """compose.yaml, up and, whatever happens, down again."""
    command = compose()
    environ = os.environ | {"MIRROR_RUN_BASE": base, "COMPOSE_IGNORE_ORPHANS": "1"}

    def quietly(*words: str) -> None:
        done = subprocess.run(
            [*command, *words], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Failed(
                f"{' '.join(command)} {words[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )

    try:
        quietly("build", "--quiet")
        quietly("up", "-d")
        yield
    finally:
        quietly("down", "--volumes", "--timeout", "3")


def containers(api: docker.APIClient) -> dict[str, str]:
    """Service: name of its container."""
    found = api.containers(filters={"label": f"com.docker.compose.project={PROJECT}"})
    return {c["Labels"]["com.docker.compose.service"]: c["Names"][0].lstrip("/") for c in found}


def addresses(api: docker.APIClient, container: str) -> set[str]:
    networks = api.inspect_container(container)["NetworkSettings"]["Networks"].values()
    return {
        network[key] for network in networks for key in ("IPAddress", "GlobalIPv6Address") if network[key]
    }


def run_changed_api(web: set[str], during: Callable[[], None]) -> None:
    """The main job: the changed api, in the place of the real one, until it has seen enough."""
    words = ["--target", TARGET, "--", "python3", "api.py"]
    say(f"\n$ cd tests/demo && mirror-run {' '.join(words)}")
    shown = 0

    def show(line: str) -> None:
        nonlocal shown
        shown += 1
        if shown <= SHOWN:
            say(f"  {line}")
        elif shown == SHOWN + 1:
            say("  …")

    began = time.monotonic()
    run = subprocess.Popen(
        [str(MIRROR_RUN), *words],
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout
    assert run.stderr
    try:
        notices = Lines(run.stderr, lambda line: say(f"  {line}"))
        lines = Lines(run.stdout, show)
        first = next(lines.matching(r"^host name (\w+)", "the changed api's first line"))
        to_first_line = time.monotonic() - began
        pattern = r"^ *\d+ .* from (\S+) port \d+   db says ('teapot no. \d+'|\d+) in"
        seen = [
            found[1] for found in islice(lines.matching(pattern, "requests in the changed api"), REQUESTS)
        ]
        during()
        say()
        say(f"  (its first line came after {to_first_line:.2f} s, as host {first[1]})")
        claim(
            len(seen) == REQUESTS,
            f"{REQUESTS} live requests arrived, each answered from the database by its name, db",
        )
        claim(set(seen) <= web, f"every one came from web's own address ({', '.join(sorted(set(seen)))})")
        run.send_signal(signal.SIGINT)  # as ctrl-C would
        claim(run.wait(PATIENCE) == 0, "ctrl-C ended it; its exit code is the command's own, 0")
        del notices
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()


def settled(before: Inventory, now: Callable[[], Inventory]) -> Inventory:
    """What there is once nothing is left beyond ``before``, or after the time in which that has to be so."""
    deadline = time.monotonic() + NOTHING_LEFT_WITHIN
    while (found := now()).beyond(before) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def table(columns: dict[str, Inventory]) -> None:
    say("\n  " + " " * 12 + "".join(f"{title:>16}" for title in columns))
    for kind in KINDS:
        say(f"  {kind:12}" + "".join(f"{inventory.counts()[kind]:>16}" for inventory in columns.values()))
    say()


def nothing_left(before: Inventory, after: Inventory, text: str) -> None:
    for thing in after.beyond(before):
        say(f"  left: {thing}")
    claim(not after.beyond(before), text)


def demo() -> None:
    api = docker.APIClient(version="auto", timeout=120)
    images.ensure(api, lambda text: say(f"  {text}"), os.environ)
    base = images.base(api, lambda text: say(f"  {text}"))
    nobody = take(api, PROJECT, TARGET, [])
    say(
        "Starting the stack of compose.yaml: db (PostgreSQL), api, and web, which asks api and checks each answer."
    )
    columns = {"before": nobody}
    with stack(base):
        names = containers(api)
        web = Web(names["web"])
        began = web.next()
        say(
            f"  web: {began['ok']} answers as they must be, {began['failed']} failed, {began['altered']} altered"
        )

        def look() -> Inventory:
            return take(api, PROJECT, TARGET, sorted(names.values()))

        columns["stack up"] = quiet = look()
        run_changed_api(addresses(api, names["web"]), lambda: columns.update({"with mirror-run": look()}))
        columns["run ended"] = settled(quiet, look)
        tally = web.next()
        web.close()
        claim(
            tally["ok"] > began["ok"],
            f"all the while the real api answered web: {tally['ok']} answers as they must be",
        )
        claim(tally["failed"] == tally["altered"] == 0, "failed answers 0, altered answers 0")
        query = "select by, count(*) from sold group by by order by by"
        rows = subprocess.run(
            ["docker", "exec", names["db"], "psql", "-U", "postgres", "-At", "-F", ": ", "shop", "-c", query],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\n")
        claim(
            any(row.startswith("the changed api: ") for row in rows),
            f"rows in the database by {'; by '.join(filter(None, rows))}",
        )
        nothing_left(quiet, columns["run ended"], "nothing of the run is left")
    columns["stack down"] = settled(nobody, lambda: take(api, PROJECT, TARGET, []))
    table(columns)
    nothing_left(nobody, columns["stack down"], "nothing of the stack is left")


def main() -> None:
    began = time.monotonic()
    try:
        demo()
    except Failed as failed:
        say(f"  ✗ {failed}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    say(f"\nDone in {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main()
