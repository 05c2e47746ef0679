"""A target's pods through their lives: who is attached under which index, and which of them is the primary.

Sans-io: pods as they are seen in, steps out. A pod is followed when it is ready, and kept until it has gone: one that
is unready or told to go still gets what is sent to it. An index is a pod's for good and is never given to another.
Index 0 is the first primary; when the primary goes, the ready one that has been here longest takes its part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from runner.kube.pod import Pod
from runner.kube.pod_life_core import TRANSITIONS, Deed, Look, State, look_of
from wire.record import record

# --- steps ----------------------------------------------------------------------------------------------------------


@record
class Prepare:
    """These pods have a node: an agent will be needed beside each."""

    pods: tuple[Pod, ...]


@record
class AttachTo:
    """Ask the agent of the pod's node to attach its container under this index."""

    index: int
    pod: Pod
    again: bool  # the index was attached before: the container was restarted


@record
class Leave:
    """The pod of this index has gone: detach it, and let its agent go if no other pod needs it."""

    index: int
    pod: Pod


@record
class Primary:
    """From now on this one, which is attached, is who the app is on the network."""

    index: int
    pod: Pod


@record
class Say:
    """Tell the user."""

    text: str


Step = Prepare | AttachTo | Leave | Primary | Say

# --- all of them ----------------------------------------------------------------------------------------------------

BACKOFF = "CrashLoopBackOff"
"""The kubelet has given a container up for a while."""


@dataclass(slots=True)
class _Entry:
    pod: Pod
    state: State = State.NEW
    index: int = -1  # ascending, so the smallest is who has been here longest
    attached: str = ""  # the container's id, as it was when it was last attached
    cut_off: bool = False  # its agent cannot be reached


@dataclass(slots=True)
class Followed:
    """Who of the target takes part. Give it what is seen; carry out what it returns, in order."""

    name: str  # the target's, for people: deploy/cart
    _entries: dict[str, _Entry] = field(default_factory=dict)  # by the pod's uid
    _next: int = 0
    _primary: int = 0  # the index of who was last made it, whether or not it is still here
    _vacant: bool = False  # nobody is; said

    @property
    def pods(self) -> tuple[Pod, ...]:
        """Those that take part, by index."""
        return tuple(entry.pod for entry in self._attached())

    @property
    def expected(self) -> frozenset[str]:
        """The uids of those beside which an agent is needed: they take part, or will once they are ready."""
        return frozenset(
            uid for uid, entry in self._entries.items() if entry.state not in (State.NEW, State.REFUSED)
        )

    @property
    def primary(self) -> int:
        """The primary's index; while there is none, that of the last."""
        return self._primary

    def first(self, pods: Iterable[Pod]) -> list[Step]:
        """At the start: who there is, in the order in which a primary is wanted. Index 0 is it without a step."""
        return self.relisted(pods)

    def saw(self, pod: Pod) -> list[Step]:
        """A pod of the target as it is now."""
        entry = self._entries.setdefault(pod.uid, _Entry(pod))
        return [*self._change(entry, pod, look_of(pod)), *self._succession()]

    def gone(self, uid: str) -> list[Step]:
        """There is no such pod any more."""
        entry = self._entries.get(uid)
        if entry is None:
            return []
        return [*self._change(entry, entry.pod, Look.GONE), *self._succession()]

    def relisted(self, pods: Iterable[Pod]) -> list[Step]:
        """All that there are now: what was missed meanwhile happens at once, arrivals before departures, so that
        whoever takes over is there before it is needed."""
        there = list(pods)
        steps: list[Step] = []
        for pod in there:
            entry = self._entries.setdefault(pod.uid, _Entry(pod))
            steps += self._change(entry, pod, look_of(pod))
        for uid in self._entries.keys() - {pod.uid for pod in there}:
            steps += self._change(self._entries[uid], self._entries[uid].pod, Look.GONE)
        return _prepared_at_once([*steps, *self._succession()])

    def cut_off(self, uid: str, *, off: bool = True) -> list[Step]:
        """The pod's agent cannot be reached (its node is down), or can be again: another leads meanwhile."""
        if entry := self._entries.get(uid):
            entry.cut_off = off
        return self._succession()

    def _change(self, entry: _Entry, pod: Pod, look: Look) -> list[Step]:
        following, deeds = TRANSITIONS[entry.state, look]
        entry.pod = pod
        if following is None:
            del self._entries[pod.uid]
        else:
            entry.state = following
        return [step for deed in deeds for step in self._do(deed, entry)]

    def _do(self, deed: Deed, entry: _Entry) -> list[Step]:
        pod = entry.pod
        match deed:
            case Deed.PREPARE:
                return [Prepare((pod,))]
            case Deed.ATTACH:
                entry.index, self._next = self._next, self._next + 1
                entry.attached = pod.container_id
                return [AttachTo(entry.index, pod, again=False)]
            case Deed.COMPARE if pod.container_id == entry.attached:
                return []
            case Deed.AGAIN | Deed.COMPARE:
                entry.attached = pod.container_id
                return [AttachTo(entry.index, pod, again=True)]
            case Deed.LOST:
                return [Say(self._loss(entry))]
            case Deed.LEAVE:
                return [Leave(entry.index, pod), *self._farewell(entry)]
            case Deed.REFUSE:
                return [Say(f"pod {pod.name} is not followed: {pod.unfit}")]
            case _:  # FORGET: nothing was begun
                return []

    # --- the primary ------------------------------------------------------------------------------------------------

    def _succession(self) -> list[Step]:
        """Whoever must take over now, if anybody can."""
        if self._next == 0:
            return []
        present = next((entry for entry in self._attached() if entry.index == self._primary), None)
        if present is not None and _leads(present):
            return []
        heir = next((entry for entry in self._attached() if _leads(entry) and entry.pod.ready), None)
        if heir is not None:
            self._primary, self._vacant = heir.index, False
            return [Primary(heir.index, heir.pod), Say(f"the way out is through {heir.pod.name} now")]
        if present is None and not self._vacant:
            self._vacant = True
            return [
                Say(
                    f"no pod of {self.name} is left: no way out until there is another; your command keeps running"
                )
            ]
        return []

    def _farewell(self, entry: _Entry) -> list[Step]:
        left = len(self._attached())
        return [Say(f"{entry.pod.name} has gone; {left} of {self.name} left")] if left else []

    def _loss(self, entry: _Entry) -> str:
        text = f"container {entry.pod.container} of {entry.pod.name} ended"
        if entry.pod.waits:
            text += f" ({entry.pod.waits})"
        return text + (": no way out through it until it is back" if entry.index == self._primary else "")

    def _attached(self) -> list[_Entry]:
        found = [entry for entry in self._entries.values() if entry.index >= 0]
        return sorted(found, key=lambda entry: entry.index)


def _leads(entry: _Entry) -> bool:
    """Whether it may stay the primary: one that is restarted may, since its address stays; one that the kubelet has
    given up for a while, or that was told to go, hands over as soon as another is there."""
    given_up = entry.state is State.DOWN and entry.pod.waits == BACKOFF
    return not (entry.pod.ending or entry.cut_off or given_up)


def _prepared_at_once(steps: list[Step]) -> list[Step]:
    """The same, with one Prepare for all: agents of several nodes are made side by side."""
    pods = tuple(pod for step in steps if isinstance(step, Prepare) for pod in step.pods)
    rest: list[Step] = [step for step in steps if not isinstance(step, Prepare)]
    return [Prepare(pods), *rest] if pods else rest
