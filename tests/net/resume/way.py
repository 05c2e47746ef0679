"""A way between the two engines that loses what it carries whenever it is told to, or after so many octets; and
may take its time.

What the bridge and the agent say to each other in Hello and Welcome is said here by plain calls.
"""

from __future__ import annotations

import random
import select
import socket
import threading
import time
from collections import deque
from contextlib import suppress

from agent.engine import Engine
from layer.netstack.engine import Netstack

PIECE = 1 << 18
SESSION = 1
NEVER = 1 << 62


class Leg:
    """One pair of sockets joined by a thread, until ``cut``. ``after``: octets, then it cuts itself.

    Each octet takes ``delay`` seconds. ``peak``: the most that was on the way in one direction.
    """

    def __init__(self, delay: float = 0.0, after: int = NEVER) -> None:
        self._ours: list[socket.socket] = []
        self.ends: list[socket.socket] = []
        for _ in range(2):
            ours, end = socket.socketpair()
            ours.setblocking(False)
            self._ours.append(ours)
            self.ends.append(end)
        self._delay, self._left = delay, after
        self._wake, self._end = socket.socketpair()
        self._on_the_way: list[deque[tuple[float, memoryview]]] = [deque(), deque()]
        self._held = [0, 0]
        self.peak = [0, 0]
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leg", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Both ends are closed, and what was on the way is lost."""
        self._end.close()
        self._thread.join()
        self._wake.close()

    def _run(self) -> None:
        try:
            while not self._wake_came():
                for side in range(2):
                    self._take(side)
                    self._give(side)
        except (EOFError, ConnectionError):
            pass
        finally:
            for sock in random.sample(self._ours, 2):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
            self.over.set()

    def _wake_came(self) -> bool:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        wait = -1.0
        for side in range(2):
            events = select.POLLIN if self._held[side] < 1 << 26 else 0
            if behind := self._on_the_way[1 - side]:
                due = behind[0][0] - time.monotonic()
                if due <= 0:
                    events |= select.POLLOUT
                else:
                    wait = due if wait < 0 else min(wait, due)
            poll.register(self._ours[side], events)
        ready = dict(poll.poll(None if wait < 0 else wait * 1000 + 1))
        return self._wake.fileno() in ready

    def _take(self, side: int) -> None:
        try:
            octets = self._ours[side].recv(PIECE)
        except BlockingIOError:
            return
        if not octets:
            raise EOFError
        octets = octets[: self._left]
        self._left -= len(octets)
        self._on_the_way[side].append((time.monotonic() + self._delay, memoryview(octets)))
        self._held[side] += len(octets)
        self.peak[side] = max(self.peak[side], self._held[side])
        if not self._left:
            self._give(side)
            raise EOFError

    def _give(self, side: int) -> None:
        queue = self._on_the_way[side]
        while queue and queue[0][0] <= time.monotonic():
            due, octets = queue[0]
            try:
                n = self._ours[1 - side].send(octets)
            except BlockingIOError:
                return
            self._held[side] -= n
            queue.popleft()
            if n < len(octets):
                queue.appendleft((due, octets[n:]))


class Way:
    """A link of a bridge's engine and an agent's, both of which keep it. ``files``: the one for files alone."""

    def __init__(
        self, netstack: Netstack, engine: Engine, delay: float = 0.0, *, files: bool = False
    ) -> None:
        self.netstack, self.engine, self._delay, self._files = netstack, engine, delay, files
        self.leg = Leg(delay)
        bridge, agent = self.leg.ends
        add = netstack.files_link_add if files else netstack.link_add
        self.link = add(bridge.detach(), keeps=True)
        self.number = engine.link_add(SESSION, agent.detach(), keeps=True, files=files)
        self.cuts = 0

    def cut(self) -> None:
        """As a proxy dies. Both engines find out by themselves."""
        self.leg.cut()
        self.cuts += 1

    def resume(self, after: int = NEVER) -> None:
        """Another leg; each side goes on from what the other has."""
        here = self.netstack.link_cut(self.link)
        number, there = self.engine.link_cut(SESSION, files=self._files)
        assert number == self.number
        self.leg.cut()
        self.leg = Leg(self._delay, after)
        bridge, agent = self.leg.ends
        self.engine.link_resume(SESSION, agent.detach(), here, files=self._files)
        self.netstack.link_resume(self.link, bridge.detach(), there)

    def close(self) -> None:
        """For good."""
        self.leg.cut()
