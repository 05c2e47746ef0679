"""What the cluster's people are told of a session: events on its pods and their workload, one line of JSON at its end.

Nothing waits for an event, and one that the API server does not take is lost: they are courtesy. The object is the
record while the session lives, the line is afterwards.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from agent.account import Account
from agent.announced_core import Announced, Gets, Said
from agent.api_server import ApiFault, ApiServer
from agent.warrant_core import Judged
from wire.messages import AppPort, Proto

log = logging.getLogger(__name__)

Json: TypeAlias = dict[str, Any]

COMPONENT = "mirror-run-agent"

DRAINS, DRAINED = "MirrorSessionDrains", "MirrorSessionDrained"
"""Reasons; the runner knows them too (runner/kube/draining.py)."""

PENDING = 64
"""Events on their way at a time; more are dropped."""

REMEMBERED = 256
"""Names of events that a session need not try again; what is told again all the same is refused by its name."""

LAST_WORDS = 2.0
"""Seconds that the end of a session waits for its events."""


@dataclass(slots=True)
class Words:
    """Of one agent."""

    api: ApiServer
    node: str
    pending: set[asyncio.Task[None]] = field(default_factory=set)

    def tell(self, namespace: str, event: Json) -> None:
        """Now, if fewer than PENDING wait."""
        if len(self.pending) >= PENDING:
            log.info("an event too many: %s", event["message"])
            return
        task = asyncio.create_task(self._send(namespace, event), name="event")
        self.pending.add(task)
        task.add_done_callback(self.pending.discard)

    async def _send(self, namespace: str, event: Json) -> None:
        try:
            await self.api.ask("POST", f"/api/v1/namespaces/{namespace}/events", event)
        except ApiFault as fault:
            if not fault.conflict:  # another node's agent has said it of the same workload
                log.info("no event (%s): %s", event["message"], fault)


class Word:
    """Of one session. ``announced`` decides what is said, and when."""

    def __init__(self, words: Words, judged: Judged) -> None:
        self._words = words
        self._judged = judged
        self._announced = Announced()
        self._alarm: asyncio.TimerHandle | None = None
        self._objects: dict[str, Json] = {}  # pods, by their uid
        self._pods: dict[str, str] = {}  # their uids, by containers
        self._told: set[str] = set()

    def about(self, container: str, pod: Json, name: str) -> None:
        """Which pod a container is of, as the API server has it."""
        metadata = pod["metadata"]
        self._pods[container] = metadata["uid"]
        self._objects[metadata["uid"]] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "fieldPath": f"spec.containers{{{name}}}",
        }

    def entered(self, container: str) -> None:
        """It begins there."""
        self._announced.entered(self._pods[container], self._now())
        self._wake()

    def gets(self, container: str, mirrored: tuple[AppPort, ...], stolen: tuple[AppPort, ...]) -> None:
        """Of that container the app gets these ports now."""
        self._announced.gets(self._pods[container], Gets(mirrored, stolen), self._now())
        self._wake()

    def drains(self, container: str, yes: bool, within: int) -> None:
        """After its end; a container that was never entered has no gate."""
        uid = self._pods.get(container)
        if uid is None:
            return
        words = (
            "connections that clients began while {} stole from {} still go through the agent, {} s at most"
            if yes
            else "no connection that clients began while {} stole from {} goes through the agent any more"
        )
        reason = DRAINS if yes else DRAINED
        message = words.format(self._judged.author, self._judged.target, within)
        self._words.tell(self._judged.namespace, self._event(self._objects[uid], reason, message))

    async def ended(self, account: Account) -> None:
        """It is over, everywhere on this node."""
        if self._alarm is not None:
            self._alarm.cancel()
        for one in self._announced.rest():
            self._tell(one)
        self._record(account)
        for uid, gets in self._announced.last().items():
            self._say("MirrorSessionEnded", self._parting(gets, account), self._objects[uid])
        if self._words.pending:
            await asyncio.wait(self._words.pending, timeout=LAST_WORDS)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _wake(self) -> None:
        for one in self._announced.due(self._now()):
            self._tell(one)
        if self._alarm is not None:
            self._alarm.cancel()
        deadline = self._announced.deadline()
        self._alarm = None if deadline is None else asyncio.get_running_loop().call_at(deadline, self._wake)

    def _tell(self, one: Said) -> None:
        judged = self._judged
        others = ", ".join(right for right in sorted(judged.rights) if right != judged.mode)
        if one.gets:
            words = f"{does(one.gets)} of {judged.target}"
        elif one.first:
            words = f"takes part in {judged.target}, and {self._verb} no port of it yet"
        else:
            words = f"{self._verb} no port of {judged.target} any more"
        words += f", with {others}" if one.first and others else ""
        reason = "MirrorSessionBegan" if one.first else "MirrorSessionChanged"
        self._say(reason, f"{judged.author} {words}", self._objects[one.pod])

    @property
    def _verb(self) -> str:
        return {"steal": "steals"}.get(self._judged.mode, "mirrors")

    def _parting(self, gets: Gets, account: Account) -> str:
        done = account.mirrored
        counted = f"{done.connections} connections, {done.bytes} bytes mirrored, {account.seconds:.0f} s"
        what = f"{does(gets)} of" if gets else "takes part in"
        return f"{self._judged.author} no longer {what} {self._judged.target} ({counted}): {account.reason}"

    def _say(self, reason: str, message: str, pod: Json) -> None:
        workload = self._workload()
        for one in [pod, *([workload] if workload else [])]:
            event = self._event(one, reason, message)
            if event["metadata"]["name"] not in self._told:
                if len(self._told) >= REMEMBERED:
                    self._told.clear()
                self._told.add(event["metadata"]["name"])
                self._words.tell(self._judged.namespace, event)

    def _workload(self) -> Json | None:
        if self._judged.workload is None:
            return None
        version, kind, name, uid = self._judged.workload
        namespace = self._judged.namespace
        return {"apiVersion": version, "kind": kind, "namespace": namespace, "name": name, "uid": uid}

    def _event(self, about: Json, reason: str, message: str) -> Json:
        """core/v1 Event. Its name says what it is about, so that agents of several nodes say it once of a workload; the
        end is one thing whatever they counted, a change may come again in another minute."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        name = f"{about['name'][:180]}.{self._judged.uid[:8]}.{about['uid'][:8]}.{reason.lower()}"
        if reason != "MirrorSessionEnded":
            name += f".{zlib.crc32(message.encode()):08x}"
        if reason == "MirrorSessionChanged":
            name += "." + now[8:16].translate(str.maketrans("T", "-", ":"))
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": self._judged.namespace},
            "involvedObject": about,
            "reason": reason,
            "message": message[:1024],
            "type": "Normal",
            "source": {"component": COMPONENT, "host": self._words.node},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._words.node,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    def _record(self, account: Account) -> None:
        judged, mirrored, outgoing = self._judged, account.mirrored, account.outgoing
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "session": f"{judged.namespace}/{judged.name}",
            "author": judged.author,
            "target": judged.target,
            "mode": judged.mode,
            "rights": sorted(judged.rights),
            "used": sorted(account.used),
            "pods": sorted(self._objects[uid]["name"] for uid in self._announced.last()),
            "node": self._words.node,
            "connections": mirrored.connections,
            "datagrams": mirrored.datagrams,
            "bytes": mirrored.bytes,
            "opened": outgoing.opened,
            "bytes_sent": outgoing.sent,
            "bytes_received": outgoing.received,
            "datagrams_slowed": outgoing.slowed,
            "seconds": round(account.seconds, 3),
            "end": account.reason,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def does(gets: Gets) -> str:
    """ "steals 8080 and mirrors 53/udp"."""
    parts = (("steals", gets.stolen), ("mirrors", gets.mirrored))
    return " and ".join(f"{verb} {shown(ports)}" for verb, ports in parts if ports)


def shown(ports: Sequence[AppPort]) -> str:
    """ "8080, 53/udp": as the target numbers them."""
    return ", ".join(str(one.target) if one.proto == Proto.TCP else f"{one.target}/udp" for one in ports)
