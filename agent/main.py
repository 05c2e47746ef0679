"""``python3 -m agent.main``: looks whether it may do its work, then serves sessions until none is left."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

from agent import VERSION, capabilities
from agent.doors import Door, on_path, on_port
from agent.engine import Engine
from agent.lifetime import FIRST_WITHIN, LINGERS, Lifetime
from agent.server import DRAINS_WITHIN, Server
from agent.table_comment import INSTALLED
from agent.warrants import Anyone, Pinned, Warrants

log = logging.getLogger("agent")


def main() -> int:
    """The exit code: 0 when no session is left or a signal said so, 1 when it may not or cannot work."""
    asked = _arguments()
    logging.basicConfig(stream=sys.stderr, level=asked.log_level, format="%(name)s: %(message)s")
    # What is made for an app comes with its own umask taken off, and a thread may not always have one to itself
    # (agent/files/credentials.c). Nothing of the agent's own is made without one.
    os.umask(0)
    if not _may_work(beside=asked.beside):
        return 1
    _raise_limits()
    with ExitStack() as doors, Engine() as engine:
        try:
            opened = _doors(asked, doors)
        except OSError as error:
            log.critical("the agent cannot listen: %s", error.strerror)
            return 1
        asyncio.run(_serve(engine, opened, Lifetime(time.monotonic(), asked.first, asked.idle), asked))
        return 1 if engine.failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mirror-run-agent", description=__doc__)
    parser.add_argument("--socket", default="", help="a Unix socket, where runner and bridge find it")
    parser.add_argument(
        "--founders", default="", help="a socket of its own for runners: then no session begins on the other"
    )
    parser.add_argument(
        "--port", type=int, default=0, help="on the loopback alone; if it is taken, the agent ends"
    )
    parser.add_argument(
        "--secret-hash",
        type=_hash,
        default=None,
        help="SHA-256 of the secret that founds a session by the port",
    )
    parser.add_argument(
        "--pod-uid", action="append", default=[], help="a pod whose containers such a session may enter"
    )
    parser.add_argument(
        "--beside",
        action="store_true",
        help="all targets share this container's network: CAP_SYS_ADMIN is not needed",
    )
    parser.add_argument(
        "--cluster",
        type=_address,
        default=None,
        help="sessions are MirrorSessions at this API server, HOST:PORT",
    )
    parser.add_argument("--node", default="", help="with --cluster: the node this is, by its name there")
    parser.add_argument(
        "--judged-by", default="", help="with --cluster: SHA-256 of the admission policy's specs"
    )
    parser.add_argument(
        "--first", type=float, default=FIRST_WITHIN, help="seconds in which the first session must have come"
    )
    parser.add_argument(
        "--idle", type=float, default=LINGERS, help="seconds after the last session; 0: stay for ever"
    )
    parser.add_argument(
        "--drain",
        type=float,
        default=DRAINS_WITHIN,
        help="seconds for connections that go through gates, when it is ended by a signal",
    )
    parser.add_argument("--log-level", default="WARNING", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    parser.add_argument("--version", action="version", version=f"mirror-run {VERSION}")
    asked = parser.parse_args()
    if asked.cluster and not (asked.node and asked.judged_by):
        parser.error("--cluster needs --node and --judged-by")
    if asked.port and asked.secret_hash is None and not asked.cluster:
        parser.error(
            "--port needs --secret-hash or --cluster: whoever may forward a port could found a session otherwise"
        )
    if not asked.port and not asked.socket:
        asked.socket = "/run/mirror-run/agent.sock"
    return asked


def _hash(text: str) -> bytes:
    octets = bytes.fromhex(text)
    if len(octets) != hashlib.sha256().digest_size:
        raise ValueError(text)
    return octets


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _doors(asked: argparse.Namespace, undo: ExitStack) -> list[Door]:
    """Open until ``undo``. OSError."""
    doors = []

    def opened(door: Door) -> None:
        undo.callback(door.close)
        doors.append(door)

    if asked.founders:
        opened(on_path(asked.founders, Anyone()))
    if asked.socket:
        opened(on_path(asked.socket, None if asked.founders else Anyone()))
    if asked.port:
        opened(on_port(asked.port, _warrants(asked)))
    return doors


def _warrants(asked: argparse.Namespace) -> Warrants:
    if not asked.cluster:
        return Pinned(asked.secret_hash, asked.pod_uid)
    from agent.api_server import ApiServer  # HTTP and TLS, for those agents alone that need them
    from agent.cluster import ClusterWarrants

    return ClusterWarrants(ApiServer(*asked.cluster), asked.node, asked.judged_by)


def _may_work(*, beside: bool) -> bool:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        missing = capabilities.missing(file.read(), beside=beside)
    if missing:
        log.critical("the agent's container lacks %s: add them (--cap-add)", ", ".join(missing))
        return False
    if not capabilities.sees_the_whole_machine(os.readlink("/proc/self/ns/pid")):
        log.info("this is not the machine's own pid namespace: only containers below it can be found")
    return True


def _raise_limits() -> None:
    """A descriptor for each connection dialled."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _kind(asked: argparse.Namespace) -> str:
    """What this agent is, told to those who meet its table in a target."""
    if asked.cluster:
        return INSTALLED
    if asked.port:
        return "an ephemeral container" if asked.beside else "a Job of its own"
    return ""


async def _serve(
    engine: Engine, doors: Sequence[Door], lifetime: Lifetime, asked: argparse.Namespace
) -> None:
    loop = asyncio.get_running_loop()
    server = Server(engine, lifetime, _kind(asked), asked.drain)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop, f"the agent was ended ({number.name})")
    tending = [
        asyncio.create_task(door.warrants.tend(), name=f"warrants of {door.name}")
        for door in doors
        if door.warrants
    ]
    try:
        await server.serve(doors)
    finally:
        for task in tending:
            task.cancel()
        await asyncio.gather(*tending, return_exceptions=True)


if __name__ == "__main__":
    sys.exit(main())
