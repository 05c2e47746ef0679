"""The agent's engine and nothing else, for measuring: one session, one target given as the path of its
network namespace.

Arguments: the link's fd, the namespace's path, and any of: ports to mirror as TARGET:APP; choose=HEX, the
filters of what is copied of them; files=PID:FD, the process whose files are served, and their own link; keep, for
links that outlive their sockets.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

from agent.engine import Engine
from wire.messages import AppPort, Proto


def main(link: str, netns: str, *more: str) -> None:
    """Until SIGTERM; then says what was mirrored, and how many requests the filters saw."""
    served = [word.removeprefix("files=").split(":") for word in more if word.startswith("files=")]
    ports = [word for word in more if ":" in word and not word.startswith("files=")]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # as in a container
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    with Engine() as engine:
        engine.session_add(1)
        for filters in (word.removeprefix("choose=") for word in more if word.startswith("choose=")):
            engine.choose(1, bytes.fromhex(filters))
        engine.link_add(1, int(link), keeps="keep" in more)
        fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        engine.target_set(1, 0, fd)
        os.close(fd)
        for pid, own in served:
            engine.link_add(1, int(own), keeps="keep" in more, files=True)
            pidfd = os.pidfd_open(int(pid))
            engine.target_files(1, 0, int(pid), pidfd, writes=False)
            os.close(pidfd)
        if ports:
            pairs = [port.split(":") for port in ports]
            engine.mirror_ports(
                1, 0, tuple(AppPort(Proto.TCP, int(app), int(target)) for target, app in pairs)
            )
        os.write(1, b"ready\n")
        signal.sigwait([signal.SIGTERM])
        seen = sum(port.seen for port in engine.seen(1, 0))
        os.write(1, f"{engine.counters(1)} seen {seen}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
