"""Which tests run beside which: the order of the files, and who must have the machine to itself.

Most end-to-end tests wait for an engine or a cluster and leave both processors idle, so `make test` runs several
processes (pytest-xdist). A *unit* is what one process runs in one go: a file with its fixtures, a family of files, or
a single test. Units are dealt out in the order of `RANKS`; those of `ALONE` come last, in one process, after every
other process has ended and taken its fixtures' containers and namespaces with it.

Rejected: xdist's own `--dist loadgroup`, which keeps a group together but cannot keep others away; a lock that most
tests share and few hold alone, which the few get only when the many are through, with a process waiting all the while;
two runs of pytest, whose two counts nobody adds up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from xdist.scheduler import LoadScopeScheduling

ALONE: dict[str, str] = {
    "tests/net/mirror/test_load.py": "a rate at which nothing may be lost",
    "tests/net/gate/test_ends.py::test_one_port_of_a_clients_a_thousand_times": "50 ms, a thousand times",
    "tests/e2e/docker/test_bystanders.py": "kills the agent, which all sessions on the engine share",
    "tests/e2e/docker/test_steal_ends.py::test_the_agents_end": "the same",
    "tests/e2e/docker/test_lifecycle.py::test_twenty_sessions_leave_the_engine_as_it_was": "counts the engine's",
    "tests/demo/": "counts this machine's sockets and rules",
    "tests/e2e/kubernetes/test_bystanders.py": "two seconds in which a new pod is followed",
    "tests/e2e/kubernetes/test_faults.py": "restarts what the cluster is made of",
    "tests/e2e/kubernetes/test_cluster.py::test_pods_do_not_notice_that_the_kubelet_was_killed": "the same",
    "tests/e2e/kubernetes/test_cluster.py::test_the_api_server_comes_back_with_all_it_knew": "the same",
    "tests/e2e/kubernetes/test_cluster.py::test_a_drained_nodes_pods_go_to_the_other": "the same",
    "tests/e2e/kubernetes/test_tunnel.py::test_the_api_server_is_restarted": "the same",
}
"""Path, or "path::test": why nothing else may run meanwhile."""

INSTALLED = "an installation in the cluster"
FAMILIES: dict[str, str] = {
    "tests/net/mirror/": "the mirror",  # one program, compiled for all of them
    "tests/net/gate/": "the gate",
    "tests/net/files/": "the files",
    "tests/e2e/kubernetes/test_rights.py": INSTALLED,
    "tests/e2e/kubernetes/test_main_rights.py": INSTALLED,
    "tests/e2e/kubernetes/test_files.py": INSTALLED,
    "tests/e2e/kubernetes/test_kinds.py": INSTALLED,
    "tests/e2e/kubernetes/test_steal_beside.py": INSTALLED,
    "tests/e2e/kubernetes/test_looking.py": INSTALLED,
    "tests/e2e/kubernetes/test_targets.py::test_rollouts_with_and_without_the_kind": INSTALLED,  # as test_kinds has it
    "tests/e2e/kubernetes/test_install.py": INSTALLED,
    "tests/e2e/kubernetes/test_install_life.py": INSTALLED,
}
"""Path, or "path::test": the name of the unit that it belongs to. One member runs after the other."""

APART: tuple[str, ...] = ()
"""Paths whose tests share no fixture of their file and are long: each is a unit."""

RANKS: tuple[str, ...] = (
    "tests/net/agent/test_sanitized.py",
    "tests/net/netstack/test_sanitized.py",
    "tests/test_wheel.py",
    "tests/native/",
    "tests/fuzz/",
    "tests/net/",
    "tests/",
    "tests/e2e/docker/",
    "tests/e2e/images/",
    "tests/e2e/kubernetes/test_rights.py",
    "tests/e2e/kubernetes/test_main_job.py",
    "tests/e2e/kubernetes/",
)
"""Beginnings of paths: what fits an earlier one (the longest that fits) begins earlier. What is long comes before what
is short, what needs the cluster last: the first time it is being compiled meanwhile."""


def place(nodeid: str, listed: Iterable[str]) -> str:
    """The entry that names this test, its file or a folder above; the longest, "" if there is none."""
    test = nodeid.partition("[")[0]
    found = [
        one for one in listed if test == one or test.startswith(one if one.endswith("/") else f"{one}::")
    ]
    return max(found, key=len, default="")


def unit(nodeid: str) -> str:
    """The name of the unit of a test."""
    path = nodeid.partition("::")[0]
    if place(nodeid, ALONE):
        return f"{path} alone"
    if entry := place(nodeid, FAMILIES):
        return FAMILIES[entry]
    return nodeid if place(nodeid, APART) else path


def rank(nodeid: str) -> int:
    """Where among all a test's unit is dealt out."""
    return RANKS.index(place(nodeid, RANKS) or "tests/")


class Units(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Deals out units to processes; at the end those of `ALONE` to the first, once it is the last."""

    def __init__(self, config: Any, log: Any = None) -> None:
        super().__init__(config, log)
        self.alone: OrderedDict[str, dict[str, bool]] = OrderedDict()

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)

    @property
    def tests_finished(self) -> bool:
        return not self.alone and bool(super().tests_finished)

    @property
    def has_pending(self) -> bool:
        return bool(self.alone) or bool(super().has_pending)

    def schedule(self) -> None:
        if self.collection is None:
            if not self._check_nodes_have_same_collection():
                return
            self.collection = list(next(iter(self.registered_collections.values())))
            for nodeid in sorted(self.collection, key=rank):
                queue = self.alone if place(nodeid, ALONE) else self.workqueue
                queue.setdefault(unit(nodeid), {})[nodeid] = False
        for _ in range(
            2
        ):  # a process begins a test when it knows the one after it, and a unit may be one test
            for node in list(self.nodes):
                self._reschedule(node)

    def remove_node(self, node: Any) -> str | None:
        crashed: str | None = super().remove_node(node)
        for other in list(self.nodes):
            self._reschedule(other)
        return crashed

    def _reschedule(self, node: Any) -> None:
        if node.shutting_down or self._pending_of(self.assigned_work[node]) > 1:
            return
        if not self.workqueue and self.alone:
            if node is not self.nodes[0]:
                node.shutdown()  # it ends what it has, and goes
                return
            if len(self.nodes) > 1:
                return  # asked again when another has gone
            self.workqueue, self.alone = self.alone, OrderedDict()
        if self.workqueue:
            self._assign_work_unit(node)
        else:
            node.shutdown()
