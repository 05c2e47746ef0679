"""kubectl as tests use it: one kubeconfig, JSON in and out, and waiting by watching.

The tests ask Kubernetes by its own client, not by the product's: what both got wrong alike would not be seen.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.cluster.places import CONTROL

Json = dict[str, Any]

PATIENCE = 60.0


class KubectlError(Exception):
    """What kubectl said."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """One user at one API server. ``program``: kubectl, or the file that is."""

    program: str
    kubeconfig: Path

    def command(self, *words: str) -> list[str]:
        return [self.program, "--kubeconfig", str(self.kubeconfig), *words]

    def environment(self) -> dict[str, str]:
        """For programs that are to find this cluster, and reach ours by no proxy."""
        past = ",".join(filter(None, [os.environ.get("NO_PROXY"), CONTROL]))
        return os.environ | {"KUBECONFIG": str(self.kubeconfig), "NO_PROXY": past}

    def __call__(self, *words: str, text: str | None = None, patience: float = PATIENCE) -> str:
        """What it printed. KubectlError when it failed."""
        done = self.tried(*words, text=text, patience=patience)
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(words)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def tried(
        self, *words: str, text: str | None = None, patience: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """The same, whatever its exit code."""
        return subprocess.run(
            self.command(*words),
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=patience,
            env=self.environment(),
        )

    def json(self, *words: str) -> Json:
        found: Json = json.loads(self(*words, "-o", "json"))
        return found

    def items(self, *words: str) -> list[Json]:
        return list(self.json(*words)["items"])

    def apply(self, *objects: Json, namespace: str = "") -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self(*(["-n", namespace] if namespace else []), "apply", "-f", "-", text=text)

    def until(self, wanted: Callable[[Json], bool], *words: str, patience: float = PATIENCE) -> Json:
        """The first state of `kubectl get WORDS` that is wanted, whether it is so already or becomes so.

        For one object, or for several, one at a time. AssertionError with the last state when patience ends.
        """
        deadline = time.monotonic() + patience
        last: Json | None = None
        with self._watching(words) as events:
            for event in events(deadline):
                last = event["object"]
                if event["type"] != "DELETED" and wanted(last):
                    return last
        raise AssertionError(
            f"kubectl get {' '.join(words)}: not so within {patience:g} s; last: {json.dumps(last)}"
        )

    def gone(self, *words: str, patience: float = PATIENCE) -> None:
        """Waits until none of `kubectl get WORDS` is left."""
        self("wait", "--for=delete", *words, f"--timeout={patience:.0f}s", patience=patience + 10)

    @contextmanager
    def _watching(self, words: tuple[str, ...]) -> Iterator[Callable[[float], Iterator[Json]]]:
        command = self.command("get", *words, "--watch", "--output-watch-events", "-o", "json")
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment()
        ) as process:
            assert process.stdout is not None
            out = process.stdout

            def events(deadline: float) -> Iterator[Json]:
                yield from _documents(out, deadline)
                if process.poll():  # it is no longer there, or may not be asked for
                    assert process.stderr is not None
                    raise KubectlError(
                        f"kubectl get {' '.join(words)}: {process.stderr.read().decode().strip()}"
                    )

            try:
                yield events
            finally:
                process.kill()


def _documents(stream: IO[bytes], deadline: float) -> Iterator[Json]:
    """JSON documents as they come, one after another without a separator; ends with the stream or at the deadline."""
    decoder, text = json.JSONDecoder(), ""
    file = stream.fileno()
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([file], [], [], left)[0]:
            return
        if not (read := os.read(file, 1 << 16)):
            return
        text += read.decode()
        while text := text.lstrip():
            try:
                document, end = decoder.raw_decode(text)
            except ValueError:
                break  # the rest of it is still to come
            yield document
            text = text[end:]
