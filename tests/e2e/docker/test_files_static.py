"""The target's files for programs that have no layer: a server in Go, a static shell and its tools, and what they
start.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from docker.models.containers import Container

from .scene import Scene

SERVE = (
    "mkdir -p /srv/files/sub && echo mine > /srv/files/mine && echo leaf > /srv/files/sub/leaf && sleep 600"
)
READ, WRITE = ("--fs-mode", "read"), ("--fs-mode", "overrides", "--fs-read-write", "^/srv/files")


@pytest.fixture(scope="module")
def target(scene: Scene) -> Iterator[Container]:
    made = scene.container("static", ["sh", "-c", SERVE])
    scene.wait_inside(made, "test", "-s", "/srv/files/sub/leaf")
    yield made
    scene.remove(made)


GO = ["/programs/files-go", "/srv/files", "/mine", "/sub/", "/nothing"]


def test_go_serves_and_writes_the_target_s_files(scene: Scene, target: Container) -> None:
    """The same program says the same inside the target: with the right to write, and with copies of its own."""
    there = scene.inside(target, *GO)
    assert "walked 4 <nil>\nchdir <nil>\nthere /srv/files/sub <nil> leaf\n" in there
    for options in (WRITE, READ):
        assert scene.run(target, *GO, options=(*options, "-u", "0")) == there
    assert scene.inside(target, "ls", "/srv/files/sub") == "leaf\n"


STATIC = """cd /srv/files && pwd && cat mine < sub/leaf && ls sub && cat sub/leaf && find . -type f | sort
echo more >> mine; wc -l < mine; cp mine other && cat other; rm other; test -e other; echo $?
cat /srv/none; stat -c '%s %F' sub/leaf; grep -r leaf /srv/files/sub; bash -c 'cat sub/leaf; cd sub; pwd; cat leaf'"""
SAID = """/srv/files\nmine\nleaf\nleaf\n./mine\n./sub/leaf\n2\nmine\nmore\n1\n5 regular file
/srv/files/sub/leaf:leaf\nleaf\n/srv/files/sub\nleaf\n"""


def test_a_static_shell_and_its_tools(scene: Scene, target: Container) -> None:
    """As the command itself, and started by a shell that has the layer; what it starts has one again."""
    assert scene.run(target, "busybox", "sh", "-c", STATIC, options=READ) == SAID
    assert scene.run(target, "bash", "-c", 'busybox sh -c "$0"', STATIC, options=READ) == SAID
    assert scene.inside(target, "cat", "/srv/files/mine") == "mine\n"


def test_who_becomes_another_user_is_counted(scene: Scene, target: Container) -> None:
    """A program that would not become it with a filter of ours (no_new_privs) has none."""
    script = """cp /usr/bin/id /tmp/other; chown nobody /tmp/other; chmod 4755 /tmp/other
/tmp/other -un; busybox cat /srv/files/mine"""
    run = scene.start(target, "sh", "-c", script, options=(*READ, "-u", "0"))
    assert run.wait() == 0
    run.out.rest()
    assert run.out.seen == ["nobody\n", "mine\n"]
    run.err.rest()
    assert any("1 program had no layer, and the container's files" in line for line in run.err.seen)


def test_a_user_without_a_capability_and_a_clean_environment(scene: Scene, target: Container) -> None:
    """Under an engine's usual profile: the kernel lets mirror-init read the memory of its own user's programs alone."""
    script = """id -u; cd /srv/files/sub && busybox sh -c 'cat leaf; echo x > made; cat made; id -u'
env -i /bin/cat /srv/files/mine; env -i /usr/bin/env; stat -c %u made"""
    said = scene.run(target, "sh", "-c", script, options=(*READ, "-u", "1234"))
    assert said == "1234\nleaf\nx\n1234\nmine\n1234\n"
