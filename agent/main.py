"""``python3 -m agent.main``: looks whether it may do its work, then serves sessions until none is left."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
import sys

from agent import VERSION, capabilities
from agent.engine import Engine
from agent.server import Server

log = logging.getLogger("agent")


def main() -> int:
    """The exit code: 0 when no session is left or a signal said so, 1 when it may not or cannot work."""
    parser = argparse.ArgumentParser(prog="mirror-run-agent", description=__doc__)
    parser.add_argument(
        "--socket", default="/run/mirror-run/agent.sock", help="where runner and bridge find it"
    )
    parser.add_argument(
        "--founders", default="", help="a socket of its own for runners: then no session begins on the other"
    )
    parser.add_argument("--log-level", default="WARNING", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    parser.add_argument("--version", action="version", version=f"mirror-run {VERSION}")
    asked = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=asked.log_level, format="%(name)s: %(message)s")
    if not _may_work():
        return 1
    _raise_limits()
    with Engine() as engine:
        asyncio.run(_serve(engine, asked.socket, asked.founders))
        return 1 if engine.failed else 0


def _may_work() -> bool:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        missing = capabilities.missing(file.read())
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


async def _serve(engine: Engine, path: str, founders: str) -> None:
    server = Server(engine)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(
            number, server.stop, f"the agent was ended ({number.name})"
        )
    await server.serve(path, founders)


if __name__ == "__main__":
    sys.exit(main())
