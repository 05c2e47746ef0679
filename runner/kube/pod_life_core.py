"""One pod's life with a session, as a table: every state and every look, what follows, and what is to be done.

Sans-io. Who does it, and which of several pods leads, is `runner.kube.followed_core`'s.
"""

from __future__ import annotations

from enum import Enum

from runner.kube.pod import Pod


class State(Enum):
    """Where a pod is in its life with us."""

    NEW = "known, and on no node yet"
    PLACED = "on a node, and was not ready yet"
    ATTACHED = "takes part"
    DOWN = "takes part, and its container does not run"
    REFUSED = "cannot be followed, which was said"


class Look(Enum):
    """What one look at a pod shows."""

    UNPLACED = "on no node"
    PLACED = "on a node, its container does not run"
    RUNS = "its container runs, the pod is not ready"
    READY = "ready"
    ENDING = "told to go, its container still runs"
    OVER = "its container will not run again"
    UNFIT = "it cannot be followed"
    GONE = "there is no such pod"


class Deed(Enum):
    """What follows from a look."""

    PREPARE = "an agent is needed"
    ATTACH = "takes part, under a new index"
    COMPARE = "attached again if its container is another than before"
    AGAIN = "attached again"
    LOST = "its container ended: said"
    LEAVE = "detached, another becomes primary"
    REFUSE = "said"
    FORGET = "nothing was begun"


_NOTHING: tuple[Deed, ...] = ()

TRANSITIONS: dict[tuple[State, Look], tuple[State | None, tuple[Deed, ...]]] = {
    (State.NEW, Look.UNPLACED): (State.NEW, _NOTHING),
    (State.NEW, Look.PLACED): (State.PLACED, (Deed.PREPARE,)),
    (State.NEW, Look.RUNS): (State.PLACED, (Deed.PREPARE,)),
    (State.NEW, Look.READY): (State.ATTACHED, (Deed.PREPARE, Deed.ATTACH)),
    # Nothing new is begun with a pod that goes, or has gone.
    (State.NEW, Look.ENDING): (State.NEW, _NOTHING),
    (State.NEW, Look.OVER): (State.NEW, _NOTHING),
    (State.NEW, Look.UNFIT): (State.REFUSED, (Deed.REFUSE,)),
    (State.NEW, Look.GONE): (None, (Deed.FORGET,)),
    # A pod never leaves its node; a look that says so is an old one.
    (State.PLACED, Look.UNPLACED): (State.PLACED, _NOTHING),
    (State.PLACED, Look.PLACED): (State.PLACED, _NOTHING),
    (State.PLACED, Look.RUNS): (State.PLACED, _NOTHING),
    (State.PLACED, Look.READY): (State.ATTACHED, (Deed.ATTACH,)),
    (State.PLACED, Look.ENDING): (State.PLACED, _NOTHING),
    (State.PLACED, Look.OVER): (State.PLACED, _NOTHING),
    (State.PLACED, Look.UNFIT): (State.REFUSED, (Deed.REFUSE,)),
    (State.PLACED, Look.GONE): (None, (Deed.FORGET,)),
    (State.ATTACHED, Look.UNPLACED): (State.ATTACHED, _NOTHING),
    (State.ATTACHED, Look.PLACED): (State.DOWN, (Deed.LOST,)),
    (State.ATTACHED, Look.RUNS): (State.ATTACHED, (Deed.COMPARE,)),
    (State.ATTACHED, Look.READY): (State.ATTACHED, (Deed.COMPARE,)),
    (State.ATTACHED, Look.ENDING): (State.ATTACHED, _NOTHING),
    (State.ATTACHED, Look.OVER): (None, (Deed.LEAVE,)),
    (State.ATTACHED, Look.UNFIT): (State.ATTACHED, _NOTHING),  # it was fit, and a pod does not change in this
    (State.ATTACHED, Look.GONE): (None, (Deed.LEAVE,)),
    (State.DOWN, Look.UNPLACED): (State.DOWN, _NOTHING),
    (State.DOWN, Look.PLACED): (State.DOWN, _NOTHING),
    # Not only when it is ready: its network never went away, and the way out through it is wanted back.
    (State.DOWN, Look.RUNS): (State.ATTACHED, (Deed.AGAIN,)),
    (State.DOWN, Look.READY): (State.ATTACHED, (Deed.AGAIN,)),
    (State.DOWN, Look.ENDING): (State.ATTACHED, (Deed.AGAIN,)),
    (State.DOWN, Look.OVER): (None, (Deed.LEAVE,)),
    (State.DOWN, Look.UNFIT): (State.DOWN, _NOTHING),
    (State.DOWN, Look.GONE): (None, (Deed.LEAVE,)),
    **{(State.REFUSED, look): (State.REFUSED, _NOTHING) for look in Look if look is not Look.GONE},
    (State.REFUSED, Look.GONE): (None, (Deed.FORGET,)),
}
"""Every state and every look; None is the end of the entry."""


def look_of(pod: Pod) -> Look:
    """What is seen of a pod that is there."""
    runs = bool(pod.container_id)
    if pod.over or (pod.ending and not runs):
        return Look.OVER
    if pod.unfit:
        return Look.UNFIT
    if pod.ending:
        return Look.ENDING
    if not pod.node:
        return Look.UNPLACED
    if not runs:
        return Look.PLACED
    return Look.READY if pod.ready else Look.RUNS
