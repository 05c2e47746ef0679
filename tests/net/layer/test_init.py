"""mirror-init as the first process of a pid namespace, with a door played by the test: what the command gets,
and how it ends.
"""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.net.layer.container import Container, placed
from wire.messages import User

pytestmark = pytest.mark.net

ROOT = Path(__file__).resolve().parents[3]
SELF = User(0, 0)

SHOW = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void cat(const char *path)
{
    char body[500];
    FILE *file = fopen(path, "r");
    fwrite(body, 1, file ? fread(body, 1, sizeof body, file) : 0, stdout);
}
int main(void)
{
    printf("%d %s\n", (int)getuid(), getenv("HOME"));
    cat("/etc/passwd");
    cat("/etc/group");
}
"""


@pytest.fixture
def container(program: Path, tmp_path: Path) -> Iterator[Container]:
    with placed(Container, program, tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -SEGV $$", 139),
    ],
)
def test_exit_code_is_the_commands(container: Container, script: str, code: int) -> None:
    assert container.run("sh", "-c", script)[0] == code


def test_what_cannot_run_is_said(container: Container, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/nowhere/interpreter\n")
    script.chmod(0o755)
    plain, noise = tmp_path / "plain", tmp_path / "noise"
    plain.write_text("#!/bin/sh\n")
    noise.write_bytes(b"\x00\x01")
    noise.chmod(0o755)
    for argv, code, words in (
        ("no-such-program", 127, "mirror-run: no-such-program: command not found in the image\n"),
        ("/no/such/program", 127, "mirror-run: /no/such/program: command not found in the image\n"),
        (
            str(script),
            127,
            f"mirror-run: its interpreter is not in the image: {script}: No such file or directory\n",
        ),
        ("/etc", 126, "mirror-run: cannot execute /etc: Permission denied\n"),
        (str(plain), 126, f"mirror-run: cannot execute {plain}: Permission denied\n"),
        (str(noise), 126, f"mirror-run: cannot execute {noise}: Exec format error\n"),
    ):
        assert container.run(argv) == (code, "", words)
        container.visitor.close()


def test_environment_is_the_images_then_what_was_given(container: Container, tmp_path: Path) -> None:
    home = tmp_path / "h"
    given = (b"BOTH=given", b"NEW=a b=c", b"LAST=1", b"LAST=2")
    _, out, _ = container.run("env", environ=given, user=User(0, 0, (), "", str(home)))
    variables = dict(line.split("=", 1) for line in out.splitlines())
    variables.pop("PWD", None)  # this and those below are of the shell that made the mounts
    assert variables.pop("PATH").startswith("/usr/local/sbin:")
    variables.pop("OLDPWD", None)
    variables.pop("_", None)
    variables.pop("SHLVL", None)
    assert variables == {"OF_IMAGE": "image", "BOTH": "given", "NEW": "a b=c", "LAST": "2", "HOME": str(home)}


def test_a_name_alone_takes_a_variable_out(container: Container, tmp_path: Path) -> None:
    octets = "\\n".join(("a=b", "", "c"))
    given = (b"BOTH", b"NEVER_THERE", b"LINES=a=b\n\nc", b"RAW=\xff\xfe")
    script = (
        f"""env | grep -c BOTH; test "$LINES" = "$(printf '{octets}')" && printf %s "$RAW" | od -An -tx1"""
    )
    _, out, _ = container.run("sh", "-c", script, environ=given)
    assert out.splitlines()[0] == "0"
    assert out.splitlines()[-1].split() == ["ff", "fe"]


def test_the_commands_own_path_finds_it(container: Container, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("#!/bin/sh\necho found\n")
    (tmp_path / "mine").chmod(0o755)
    tmp_path.chmod(0o755)
    assert container.run("mine", environ=(f"PATH={tmp_path}:/bin".encode(),))[:2] == (0, "found\n")


def test_user_is_known_and_at_home(container: Container, tmp_path: Path) -> None:
    home = tmp_path / "home" / "ada"
    user = User(4242, 4343, (4343, 7), "ada", str(home))
    code, out, err = container.run("sh", "-c", "id -u; id -g; id -G; id -un; id -gn; echo $HOME", user=user)
    assert (code, err) == (0, "")
    assert out.splitlines() == ["4242", "4343", "4343 7", "ada", "ada", str(home)]
    assert (
        tmp_path / "passwd"
    ).read_text() == f"root:x:0:0:root:/root:/bin/sh\nada:x:4242:4343::{home}:/bin/sh\n"
    assert (tmp_path / "group").read_text() == "root:x:0:\nada:x:4343:\n"
    assert home.stat().st_uid == 4242
    assert home.parent.stat().st_uid == 0


def test_an_image_that_knows_the_uid_keeps_its_entry(container: Container, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("node:x:1000:1000::/home/node:/bin/sh")  # no newline at the end
    (tmp_path / "group").write_text("ada:x:5:")
    _, out, _ = container.run("id", "-un", user=User(1000, 1001, (), "ada", ""))
    assert out == "node\n"
    assert (tmp_path / "passwd").read_text() == "node:x:1000:1000::/home/node:/bin/sh"
    assert (tmp_path / "group").read_text() == "ada:x:5:\nada-1001:x:1001:\n"


def test_directory_is_made_when_missing(container: Container, tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b"
    assert container.run("pwd", cwd=str(wanted))[:2] == (0, f"{wanted}\n")
    assert stat.S_IMODE(wanted.stat().st_mode) == 0o755


def test_streams_and_signals_are_plain(container: Container) -> None:
    """Whatever we were started with: an ignored signal would be inherited, even one that musl keeps to itself."""
    inherited = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, 34)}
    try:
        streams_and_signals_are_plain(container)
    finally:
        for number, handler in inherited.items():
            signal.signal(number, handler)


def streams_and_signals_are_plain(container: Container) -> None:
    process = container.start(
        "sh", "-c", "ls /proc/self/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status; cat", stdin=subprocess.PIPE
    )
    body = os.urandom(1 << 20)
    out, err = process.communicate(body, timeout=10)
    head = b"0\n1\n2\n3\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"  # 3: ls's own
    assert out == head + body
    assert err == b""


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH]
)
def test_signals_reach_the_command_alone(container: Container, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    # The child would die of TERM, INT, HUP or USR1 if the whole group got it.
    script = (
        "sleep 60 & child=$!; "
        f"trap 'kill -0 $child && echo got {name}; kill -9 $child; exit 3' {name}; echo ready; wait"
    )
    process = container.start("sh", "-c", script)
    assert container.wait_line() == b"ready\n"
    os.kill(container.init_pid(), number)
    out, _ = process.communicate(timeout=5)
    assert (process.returncode, out.decode()) == (3, f"got {name}\n")


def test_orphans_are_reaped(container: Container) -> None:
    script = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"  # exits as an orphan, after its parent did
        "    os._exit(0)\n"
        "os.wait()\n"
        "deadline = time.monotonic() + 5\n"
        "me = (1, os.getpid())\n"
        "def others(): return [p for p in os.listdir('/proc') if p.isdigit() and int(p) not in me]\n"
        "while others() and time.monotonic() < deadline: os.sched_yield()\n"
        "sys.exit(len(others()))\n"
    )
    assert container.run("/usr/bin/python3", "-c", script)[0] == 0


def test_the_doors_end_is_everybodys(container: Container) -> None:
    script = (
        "trap 'echo bye; exit 5' TERM; "
        "(trap 'echo orphan; exit' TERM; echo ready; while :; do sleep 0.01; done) & wait"
    )
    process = container.start("sh", "-c", script)
    assert container.wait_line() == b"ready\n"
    began = time.monotonic()
    container.visitor.close()
    out, err = process.communicate(timeout=5)
    assert time.monotonic() - began < 1.5
    assert process.returncode == 137
    assert sorted(out.split()) == [b"bye", b"orphan"]
    assert err.startswith(b"mirror-run: the session has ended, and the command with it\n")


def test_who_ignores_sigterm_is_killed_after_two_seconds(container: Container) -> None:
    process = container.start("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    assert container.wait_line() == b"ready\n"
    began = time.monotonic()
    container.visitor.close()
    process.communicate(timeout=5)
    assert process.returncode == 137
    assert 1.9 < time.monotonic() - began < 3


def test_an_image_with_nothing_but_the_command(container: Container, tmp_path: Path) -> None:
    """As a static Go program's, FROM scratch: no /etc, no shell, no /proc."""
    root = tmp_path / "scratch"
    root.mkdir()
    (tmp_path / "show.c").write_text(SHOW)
    subprocess.run(["gcc", "-static", "-o", str(root / "show"), str(tmp_path / "show.c")], check=True)
    shutil.copy(container.program, root / "init")
    container.root = root
    code, out, err = container.run("/show", user=User(4242, 4242, (), "ada", "/home/ada"), cwd="/work")
    assert (code, err) == (0, "")
    assert out == "4242 /home/ada\nada:x:4242:4242::/home/ada:/bin/sh\nada:x:4242:\n"
    assert (root / "home/ada").stat().st_uid == 4242
    assert (root / "work").is_dir()


def test_no_door_is_said(container: Container) -> None:
    container.door.close()
    container.process = container.spawn(subprocess.DEVNULL)
    _, err = container.process.communicate(timeout=10)
    assert (container.process.returncode, err) == (
        125,
        b"mirror-run: the bridge's door does not open: Connection refused\n",
    )


def test_a_terminal_is_the_commands(container: Container) -> None:
    master, slave = pty.openpty()
    try:
        script = (
            "import os, signal\n"
            "signal.signal(signal.SIGCONT, lambda *_: print('back', flush=True))\n"
            "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
            "print('fore', os.tcgetpgrp(0) == os.getpgrp(), flush=True)\n"
            "while True: signal.pause()\n"
        )
        process = container.start("/usr/bin/python3", "-c", script, stdin=slave)
        assert select.select([master], [], [], 5)[0]
        assert os.read(master, 100) == b"fore True\r\n"
        os.write(master, b"\x1a")
        shown = b""
        while b"back" not in shown:  # stopped, and continued
            assert select.select([master], [], [], 5)[0]
            shown += os.read(master, 100)
        os.write(master, b"\x03")
        assert process.wait(5) == 130
    finally:
        os.close(master)
        os.close(slave)
