"""Where the cluster's things lie: files, addresses, names. There is one cluster on a machine, whoever asks for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mirror-run" / "cluster"
"""Outlives `make clean`: what is built (by the hash of its sources) and what runs is the machine's, no checkout's."""

STATE = CACHE / "state"
LOGS = STATE / "log"
OUT = ROOT / "build" / "cluster"
"""This checkout's door to it: kubeconfig, and kubectl as a program."""
KUBECONFIG = OUT / "kubeconfig"
KUBECTL = OUT / "kubectl"

# Of 198.18.0.0/15 (RFC 2544) the container engine has 198.18.0.0/24 and 198.19.0.0/16; the rest is free for this.
MACHINES = "198.18.100"  # /24: control plane .1, nodes from .11, this host .254
CONTROL = f"{MACHINES}.1"
HOST = f"{MACHINES}.254"
SERVICES = "198.18.112.0/24"
FIRST_SERVICE = "198.18.112.1"  # Kubernetes gives the first address of the range to `kubernetes.default`
DNS = "198.18.112.10"
PODS = "198.18.128.0/20"  # a /24 of it for each node
DOMAIN = "cluster.local"
SERVER = f"https://{CONTROL}:6443"

HOST_LINK = "mrc-host"
"""The host's end of its cable to the control plane's bridge: the one thing of the cluster that the host can see."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node's name and number (from 1), and what follows from them."""

    number: int

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @property
    def address(self) -> str:
        return f"{MACHINES}.{10 + self.number}"

    @property
    def pods(self) -> str:
        return f"198.18.{128 + self.number}.0/24"

    @property
    def folder(self) -> Path:
        """What the node keeps between runs: its container engine's images."""
        return CACHE / "nodes" / self.name


NODES = (Node(1), Node(2))
CONTROL_NAME = "control"
