"""The bridge daemon with a scripted engine in the place of the C one: its one argument is the descriptor of
the test's side.

Each datagram on it is one report (msgpack); what the bridge calls goes back as a msgpack array with its name
first.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading

import msgpack

from layer.daemon import live


class ScriptedEngine:
    """Speaks to the test; its ``fileno`` is readable while a report waits, as the real one's."""

    def __init__(self, tun_fd: int) -> None:
        self._tun = tun_fd
        self._test = socket.socket(fileno=int(sys.argv[1]))
        self._test.setblocking(False)
        self._stopped = threading.Event()
        self._links: dict[int, int] = {}
        self._added = 0

    def _tell(self, *words: object) -> None:
        self._test.send(msgpack.packb(words))

    def run(self) -> None:
        self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        os.close(self._tun)

    def link_add(self, fd: int, *, primary: bool = True, keeps: bool = False) -> int:
        self._added += 1
        self._links[self._added] = fd
        self._tell("link_add", self._added, keeps)
        return self._added

    def files_link_add(self, fd: int, *, keeps: bool = False) -> int:
        self._added += 1
        self._links[self._added] = fd
        self._tell("files_link_add", self._added, keeps)
        return self._added

    def link_primary(self, link: int, target: int, *, files: bool = True) -> None:
        assert link in self._links
        self._tell("link_primary", link, target, *([] if files else ["no files"]))

    def link_cut(self, link: int) -> int:
        """So many octets have come as its number says."""
        if (fd := self._links[link]) >= 0:
            os.close(fd)
            self._links[link] = -1
        return link * 1000

    def link_resume(self, link: int, fd: int, received: int) -> None:
        assert self._links[link] < 0
        self._links[link] = fd
        self._tell("link_resume", link, received)

    def link_del(self, link: int) -> None:
        if (fd := self._links.pop(link)) >= 0:
            os.close(fd)
        self._tell("link_del", link)

    def listeners(self, interval_ms: int) -> None:
        self._tell("listeners", interval_ms)

    def addresses(self, ips: list[bytes]) -> None:
        self._tell("addresses", ips)

    def files(self, uid: int, gid: int, *, writes: bool) -> None:
        self._tell("files", uid, gid, writes)

    def files_device(self) -> int:
        return 0

    def fileno(self) -> int:
        return self._test.fileno()

    def pull(self) -> list[object] | None:
        try:
            report: list[object] = msgpack.unpackb(self._test.recv(65536))
        except BlockingIOError:
            return None
        return report


if __name__ == "__main__":
    asyncio.run(live(ScriptedEngine))
    os._exit(0)
