"""The runner ended in each moment of its start: what runs ends by itself, what never ran is swept by a later run."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress

import pytest
from docker.errors import NotFound
from docker.models.containers import Container

from .scene import PATIENCE, Scene


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "moment", [("create", "bridge"), ("start", "bridge"), ("create", "app"), ("start", "app")], ids=" ".join
)
def test_ended_at(scene: Scene, target: Container, moment: tuple[str, str], number: signal.Signals) -> None:
    """`tidy` then checks that nothing is left; of SIGKILL, containers that were made and never started may be."""
    action, role = moment
    events = scene.client.events(
        decode=True, filters={"label": f"mirror-run.dev/role={role}", "event": action}
    )
    seen = threading.Event()

    def watch() -> None:
        for event in events:
            if event["Actor"]["Attributes"].get("mirror-run.dev/target") == f"container/{target.name}":
                seen.set()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    run = scene.start(target, "sleep", "300")
    assert seen.wait(60), f"the {role} was never seen to {action}"
    run.process.send_signal(number)
    code = run.wait()
    events.close()
    thread.join(10)
    if number == signal.SIGKILL:
        mine: dict[str, str | list[str] | bool] = {"label": f"mirror-run.dev/target=container/{target.name}"}
        deadline = time.monotonic() + PATIENCE
        while held := scene.client.containers.list(all=True, filters=mine, ignore_removed=True):
            assert time.monotonic() < deadline, f"left: {held}"
            for left in held:
                with suppress(NotFound):
                    left.reload()
                    if (
                        left.status == "created"
                    ):  # what the next run would sweep; one may still be in the making
                        left.remove(v=True)
    else:
        assert code == 128 + number
