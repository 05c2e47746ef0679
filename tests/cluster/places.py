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

IPV6 = Path("/proc/sys/net/ipv6").exists()
"""Pods and Services have addresses of both families, where the machine knows both."""


def families(four: str, six: str) -> list[str]:
    return [four, six] if IPV6 else [four]


# Of 198.18.0.0/15 (RFC 2544) the container engine has 198.18.0.0/24 and 198.19.0.0/16; the rest is free for this.
MACHINES, MACHINES6 = (
    "198.18.100",
    "fd00:198:18:a64::",
)  # /24, /64: control plane 1, nodes from 11, this host 254
CONTROL, CONTROL6 = f"{MACHINES}.1", f"{MACHINES6}1"
HOST = f"{MACHINES}.254"
SERVICES = families("198.18.112.0/24", "fd00:198:18:a12::/112")
FIRST_SERVICES = families("198.18.112.1", "fd00:198:18:a12::1")
"""Kubernetes gives the first address of the first range to `kubernetes.default`."""
DNS = "198.18.112.10"
PODS = families("198.18.128.0/20", "fd00:198:18:a00::/60")  # a /24 and a /64 of these for each node
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
    def addresses(self) -> list[str]:
        return families(self.address, f"{MACHINES6}{10 + self.number}")

    @property
    def pods(self) -> list[str]:
        return families(f"198.18.{128 + self.number}.0/24", f"fd00:198:18:a0{self.number}::/64")

    @property
    def ways(self) -> list[list[str]]:
        """Commands that route to its pods."""
        return [
            ["ip", "route", "add", pods, "via", by]
            for pods, by in zip(self.pods, self.addresses, strict=True)
        ]

    @property
    def folder(self) -> Path:
        """What the node keeps between runs: its container engine's images."""
        return CACHE / "nodes" / self.name


FORWARDS = [
    "sh",
    "-c",
    "for f in /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding; do echo 1 > $f; done",
]
"""The command that makes a router of a network namespace."""

NODES = (Node(1), Node(2))
CONTROL_NAME = "control"
