"""A way to the API server that can be cut: a relay in a process of its own, and a kubeconfig that goes by it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster.kubectl import Kubectl
from tests.e2e.docker.scene import ROOT


@dataclass
class Way:
    """``user`` is the administrator, by this way."""

    user: Kubectl
    process: subprocess.Popen[str]

    def cut(self) -> None:
        """Every connection is reset, and none is taken until ``heal``."""
        self._say("cut")

    def freeze(self) -> None:
        """Nothing arrives and nothing ends until ``heal``."""
        self._say("freeze")

    def heal(self) -> None:
        self._say("heal")

    def _say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{word}\n"  # it has happened


@contextmanager
def way(cluster: Kubectl, folder: Path, one_way: float = 0.0) -> Iterator[Way]:
    """Of this cluster's first context; ``one_way`` is seconds of delay."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    server = config["clusters"][0]["cluster"]
    host, _, port = server["server"].removeprefix("https://").partition(":")
    words = [sys.executable, "-m", "tests.net.delay", f"{host}:{port or 443}", "--one-way", str(one_way)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        listens = process.stdout.readline().strip()
        server |= {"server": f"https://127.0.0.1:{listens}", "tls-server-name": host}
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        try:
            yield Way(Kubectl(cluster.program, path), process)
        finally:
            process.terminate()
