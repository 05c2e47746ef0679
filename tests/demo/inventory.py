"""What is on this machine that a run could leave behind: listed, so that before and after can be compared.

The engine may serve others meanwhile. So containers and networks with somebody else's labels are left out, and of the
volumes those in use: what a run of ours leaves has our label, or no user.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

KINDS = ("containers", "networks", "volumes", "sockets", "processes", "rules")

OURS = ("mirror-run", ".mirror-run", "mirror-link")
"""In the name of every socket of a run."""

TARGET = "mirror-run.dev/target"
PROJECT = "com.docker.compose.project"


@dataclass(frozen=True, slots=True)
class Inventory:
    """Names of everything, by kind. A thing that is there twice is two names."""

    things: dict[str, frozenset[str]]

    def beyond(self, other: Inventory) -> list[str]:
        """What is here and was not there, as "kind: name"."""
        return [
            f"{kind}: {name}" for kind in KINDS for name in sorted(self.things[kind] - other.things[kind])
        ]

    def counts(self) -> dict[str, int]:
        return {kind: len(self.things[kind]) for kind in KINDS}


def take(api: docker.APIClient, project: str, target: str, namespaces_of: list[str]) -> Inventory:
    """What there is of the compose project and of runs for the target, and what has no owner.

    ``namespaces_of``: containers whose network namespace's rules are listed too (if this process may).
    """

    def concerns(labels: dict[str, str]) -> bool:
        return labels.get(PROJECT) == project or labels.get(TARGET) == target

    containers = [c for c in api.containers(all=True) if concerns(c["Labels"])]
    networks = [n["Name"] for n in api.networks() if not n["Labels"] or concerns(n["Labels"])]
    others = [n for n in api.networks() if not concerns(n["Labels"] or {})]
    unused = api.volumes(filters={"dangling": True})["Volumes"] or ()
    return Inventory(
        {
            "containers": frozenset(f"{c['Names'][0]} ({c['Image']})" for c in containers),
            "networks": frozenset(networks),
            "volumes": frozenset(v["Name"] for v in unused),
            "sockets": frozenset(_numbered(_sockets())),
            "processes": frozenset(_processes(target, {c["Id"] for c in containers})),
            "rules": frozenset(_numbered(_rules(api, namespaces_of, others))),
        }
    )


def _numbered(lines: Iterator[str]) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for line in lines:
        seen[line] += 1
        yield line if seen[line] == 1 else f"{line} (no. {seen[line]})"


def _sockets() -> Iterator[str]:
    """Unix sockets with a name of ours, and every TCP port that this machine listens on (proc(5): state 0A)."""
    for line in _lines("/proc/net/unix"):
        path = line.split()[7:]
        if path and any(word in path[0] for word in OURS):
            yield f"unix {path[0]}"
    for family in ("tcp", "tcp6"):
        for line in _lines(f"/proc/net/{family}"):
            fields = line.split()
            if len(fields) > 3 and fields[3] == "0A":
                yield f"{family} {fields[1]}"


def _processes(target: str, containers: set[str]) -> Iterator[str]:
    """Those inside these containers (by cgroup), and every mirror-run for the target."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            groups = (entry / "cgroup").read_text()
        except OSError:  # it ended just now
            continue
        if any(one in groups for one in containers) or ("mirror-run " in words and target in words):
            yield f"{entry.name} {words[:100]}"


def _rules(api: docker.APIClient, containers: list[str], others: list[dict[str, Any]]) -> Iterator[str]:
    """nftables and routing rules, here and in the containers' namespaces; no counters, no other network's."""
    if os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("nsenter"):
        return
    places = [("this machine", [])]
    for name in containers:
        pid = api.inspect_container(name)["State"]["Pid"]
        if pid and os.path.exists(f"/proc/{pid}/ns/net"):
            places.append((name, ["nsenter", "-t", str(pid), "-n"]))
    for place, enter in places:
        for command in (["nft", "-s", "list", "ruleset"], ["ip", "rule"], ["ip", "-6", "rule"]):
            said = subprocess.run([*enter, *command], capture_output=True, text=True, check=False).stdout
            for line in said.splitlines():
                if line.strip(" \t}") and not _is_of(line, others):
                    yield f"{place}: {line.strip()}"


def _is_of(rule: str, networks: list[dict[str, Any]]) -> bool:
    """Does it name one of these networks' bridges, or an address in it?"""
    found = [ipaddress.ip_address(text) for text in re.findall(r"\d+\.\d+\.\d+\.\d+", rule)]
    for network in networks:
        subnets = [ipaddress.ip_network(part["Subnet"]) for part in network["IPAM"]["Config"] or ()]
        if f"br-{network['Id'][:12]}" in rule or any(
            address in subnet for address in found for subnet in subnets
        ):
            return True
    return False


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()[1:]
    except OSError:  # not Linux
        return []
