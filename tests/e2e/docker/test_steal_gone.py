"""An app that is gone: what becomes of the request that it was given, and that the next one is the target's."""

from __future__ import annotations

import subprocess
import time

import pytest
from docker.models.containers import Container

from .load import Load
from .scene import Scene
from .shop import app, shop, who
from .stealing import stolen, tell, until

__all__ = ["shop"]

URL = "http://shop:8080"
HTTP = ("http",)
RESET, CUT = 56, 18  # curl's exit codes: "failure in receiving network data", "partial file"


class Asking:
    """A bystander's request that is on its way."""

    def __init__(self, client: Container, method: str, path: str) -> None:
        words = ["curl", "-sS", "-m", "15", "-X", method, "-w", "%{http_code}", f"{URL}{path}"]
        self.process = subprocess.Popen(
            ["docker", "exec", str(client.id), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str]:
        """Its exit code, and what it wrote: the answer as far as it came, and the status."""
        out, _ = self.process.communicate(timeout=20)
        return self.process.returncode, out


@pytest.mark.parametrize("by", ["filter", "whole port"])
@pytest.mark.parametrize("gone", ["target", "502", "reset"])
def test_killed_with_a_request_in_hand(
    scene: Scene, shop: Container, bystander: Container, gone: str, by: str
) -> None:
    """What may be asked twice is the target's, as long as nothing was answered; who was promised a 502 has one. Both
    only where requests are known: a port stolen whole may be anything's."""
    options = ("--on-app-gone", gone, *(("--http-path", "^/") if by == "filter" else ()))
    run = app(scene, shop, *options, what=HTTP)
    for method, path in (("GET", "/never"), ("POST", "/never"), ("GET", "/half")):
        asking = Asking(bystander, method, path)
        run.event(asked=path)
        if path == "/half":
            time.sleep(0.2)  # its first half is on its way: the client tells nobody that it came
        began = time.monotonic()
        tell(run, "kill")
        code, text = asking.end()
        assert time.monotonic() - began < 3
        if (path, gone, by) == ("/never", "502", "filter"):
            assert (code, text[-3:]) == (0, "502")
        elif (method, path, gone, by) == ("GET", "/never", "target", "filter"):
            assert (code, text[-3:]) == (0, "200")
            assert '"by": "target"' in text
        else:
            assert code in (RESET, CUT, 52), text  # 52: "empty reply", where nothing had come
            assert "502" not in text
        run.event(done="kill")
        assert who(scene, bystander, URL) == "target"
        run.said("no longer stealing")
        tell(run, "serve")
        run.said("stealing 8080")
        assert who(scene, bystander, URL) == "app"


@pytest.mark.parametrize("gone", ["target", "502", "reset"])
def test_refused(scene: Scene, shop: Container, bystander: Container, gone: str) -> None:
    """From the moment of its death until that is known the app's port refuses: nobody who asks is told."""
    run = app(scene, shop, "--on-app-gone", gone, "--http-path", "^/", what=HTTP)
    loop = f"for i in $(seq 60); do curl -sS -m 10 -H 'Connection: close' {URL}/ || echo failed; done"
    asking = subprocess.Popen(
        ["docker", "exec", str(bystander.id), "sh", "-c", loop], stdout=subprocess.PIPE, text=True
    )
    assert asking.stdout is not None
    said = [asking.stdout.readline() for _ in range(5)]
    tell(run, "kill")
    run.event(done="kill")
    rest = asking.communicate(timeout=60)[0].splitlines()
    failed = [line for line in rest if "failed" in line]
    assert len(failed) <= 1, rest  # who was being answered
    assert '"by": "app"' in said[0]
    assert '"by": "target"' in rest[-1]


def test_it_begins_and_ends_listening_under_load(
    scene: Scene, target: Container, bystander: Container
) -> None:
    """As a server that reloads does. What waited in its queue had been said nothing, and is the target's; whom it had
    accepted it answers."""
    run = stolen(scene, target)
    until(scene, bystander, "app")
    with Load(bystander, fresh=6) as load:
        for _ in range(6):
            tell(run, "close")
            run.event(closed=8080)
            until(scene, bystander, "target")
            tell(run, "open")
            run.event(listening=8080)
            until(scene, bystander, "app")
    assert load.failed == []
    assert min(load.by["app"], load.by["target"]) > 20
    run.end()
