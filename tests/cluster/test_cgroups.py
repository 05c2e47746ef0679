"""Which hierarchies a machine has is read from its mount table, whatever its version of cgroups."""

from __future__ import annotations

import pytest

from tests.cluster.cgroups import Hierarchy, hierarchies

ONE = """\
25 30 0:23 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
26 25 0:24 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
27 25 0:25 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
"""
HYBRID = ONE + "28 25 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
TWO = "25 30 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
ELSEWHERE = (
    "90 30 0:23 / /mnt/cgroup rw - cgroup2 cgroup2 rw\n91 30 0:24 / /sys/fs/cgroups rw - cgroup x rw\n"
)

CPU, MEMORY = (
    Hierarchy("/sys/fs/cgroup/cpu", 1, whole=False),
    Hierarchy("/sys/fs/cgroup/memory", 1, whole=False),
)


@pytest.mark.parametrize(
    ("mounts", "found"),
    [
        (ONE, [CPU, MEMORY]),
        (HYBRID, [CPU, MEMORY, Hierarchy("/sys/fs/cgroup/unified", 2, whole=False)]),
        (TWO, [Hierarchy("/sys/fs/cgroup", 2, whole=True)]),
        (ELSEWHERE, []),
    ],
    ids=["version 1", "both", "version 2", "not where they are looked for"],
)
def test_hierarchies(mounts: str, found: list[Hierarchy]) -> None:
    assert hierarchies(mounts) == found
