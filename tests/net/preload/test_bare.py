"""Programs without a layer: who gets a listener, and what happens while their calls are made for them."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from .conftest import App, supervise

LEAF = "/srv/d/sub/deep/leaf"
OPEN, WITHOUT_LAYER = 1, 20

SPAWN = """import os, sys
p = sys.argv[1]
end = os.waitpid(os.SPAWN(p, [p, "cat", "/srv/d/sub/deep/leaf"], os.environ), 0)[1]
sys.exit(os.waitstatus_to_exitcode(end))"""

STARTED = [
    ["bash", "-c", f'"$0" cat {LEAF}'],
    ["bash", "-c", "cd /srv/d/sub && $0 cat deep/leaf"],
    ["sh", "-c", f'"$0" vfork "$0" cat {LEAF}'],
    [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.argv[1], 'cat', '{LEAF}'])"],
    [sys.executable, "-c", f"import os, sys; os.system(sys.argv[1] + ' cat {LEAF}')"],
    [sys.executable, "-c", SPAWN.replace("SPAWN", "posix_spawn")],
    ["bash", "-c", 'PATH=${1%/*}:$PATH; python3 -c "$0" bare', SPAWN.replace("SPAWN", "posix_spawnp")],
    ["bash", "-c", f'"$0" fork /bin/bash -c "$0 cat {LEAF}"'],
    ["bash", "-c", f'"$0" exec /bin/cat {LEAF}'],
]


@pytest.mark.parametrize("words", STARTED, ids=range(len(STARTED)))
def test_whoever_starts_it(app: App, supervised: Path, bare: Path, words: list[str]) -> None:
    """By a program with a layer, of each way to start another; and what it starts has the layer again."""
    assert supervise(app, supervised, *words, str(bare), layered=True) == "leaf\n"
    assert WITHOUT_LAYER not in app.door.asked


def test_each_kind_starts_each(app: App, supervised: Path, bare: Path) -> None:
    """With glibc's loader, with musl's, and with none: who starts whom makes no difference."""
    musl = bare.with_name("musl")
    for words in (
        [musl, "cat", LEAF],
        [musl, "fork", "/bin/cat", LEAF],
        [musl, "exec", bare, "cat", LEAF],
        [musl, "vfork", bare, "exec", musl, "cat", LEAF],
        [bare, "exec", musl, "exec", "/bin/cat", LEAF],
        ["/bin/sh", "-c", '"$@"', "sh", musl, "cat", LEAF],
    ):
        app.door.asked.clear()
        assert supervise(app, supervised, *map(str, words), layered=True) == "leaf\n"
        assert app.door.asked == {OPEN: 1}


def test_who_has_a_clean_environment(app: App, supervised: Path) -> None:
    """Then there is a loader, and nothing that tells it of the layer."""
    for script in (f"env -i /bin/cat {LEAF}", f"unset LD_PRELOAD; cat {LEAF}", f"env -i sh -c 'cat {LEAF}'"):
        app.door.asked.clear()
        assert supervise(app, supervised, "bash", "-c", script, layered=True) == "leaf\n"
        assert app.door.asked == {OPEN: 1}
    said = supervise(app, supervised, "env", "-i", "/usr/bin/env", layered=True)
    assert said == "", "and it is as clean as it was asked to be"


def test_scripts_of_it(app: App, supervised: Path, bare: Path, tmp_path: Path) -> None:
    script, nested = tmp_path / "script", tmp_path / "nested"
    script.write_text(f"#!{bare} cat\n")
    nested.write_text(f"#! {script} {LEAF}\n")
    for path in (script, nested):
        path.chmod(0o755)
    (app.tree / tmp_path.relative_to("/")).mkdir(parents=True)
    said = supervise(app, supervised, str(nested), layered=False)
    assert said == nested.read_text() or said == script.read_text()
    assert app.door.asked == {}


def test_a_program_with_a_layer_is_not_notified_of(app: App, supervised: Path, bare: Path) -> None:
    """Below one without: what the layer asks, it asks once; and its own filter is the one it inherits."""
    said = supervise(app, supervised, "bash", "-c", '"$0" exec /bin/cat ' + LEAF, str(bare), layered=True)
    assert (said, app.door.asked) == ("leaf\n", {OPEN: 1})
    script = "grep -E 'NoNewPrivs|Seccomp_filters' /proc/self/status"
    own = supervise(app, supervised, "bash", "-c", script, layered=True)
    below = supervise(app, supervised, str(bare), "exec", "/bin/sh", "-c", script, layered=False)
    filters = [int(said.splitlines()[1].split()[1]) for said in (own, below)]
    assert own.splitlines()[0] == "NoNewPrivs:\t0"
    assert filters[1] == filters[0] + 1


def test_a_program_that_becomes_another_user_is_left_alone_and_counted(
    app: App, supervised: Path, bare: Path
) -> None:
    other = bare.parent / "setuid"
    shutil.copy(bare, other)
    shutil.chown(other, 65534)
    other.chmod(0o4755)
    said = supervise(app, supervised, "bash", "-c", f"{other} cat /etc/hostname", layered=True)
    assert said == Path("/etc/hostname").read_text()
    assert app.door.asked == {WITHOUT_LAYER: 1}


def test_no_supervisor(app: App, bare: Path) -> None:
    """Then nothing is installed, the program sees the container's own, and is counted."""
    said = app.run("bash", "-c", f"{bare} cat /etc/hostname")
    assert said.stdout == Path("/etc/hostname").read_text()
    assert app.door.asked == {WITHOUT_LAYER: 1}


def test_another_user(app: App, supervised: Path, bare: Path) -> None:
    """It is the caller's memory that is looked at, and the door is told who asks."""
    (app.tree / "srv/d/file").chmod(0o644)
    as_nobody = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    words = [str(bare), "exec", *as_nobody, str(bare)]
    assert supervise(app, supervised, *words, "cat", LEAF) == "leaf\n"
    assert app.door.users == {65534}
    assert supervise(app, supervised, *words, "threads", "/srv/d/file", "20") == "16 threads, 0 wrong\n"


def test_signals_break_nothing_off(app: App, supervised: Path, bare: Path) -> None:
    """A call that was begun is finished, and made once."""
    said = supervise(app, supervised, str(bare), "signals", "/srv/d/again", "300")
    assert said == "many signals, 0 failed\n"


def test_many_threads(app: App, supervised: Path, bare: Path) -> None:
    assert supervise(app, supervised, str(bare), "threads", "/srv/d/file", "100") == "16 threads, 0 wrong\n"


def test_a_full_table_of_descriptors(app: App, supervised: Path, bare: Path) -> None:
    assert supervise(app, supervised, str(bare), "full", "/srv/d/file") == "5, then errno 24\n"


def test_filters_of_its_own(app: App, supervised: Path, bare: Path) -> None:
    """Its own refusals win; a second listener there cannot be (EBUSY)."""
    said = supervise(app, supervised, str(bare), "filters", "/srv/d/made")
    assert said == "filter 0, mkdir errno 117, listener errno 16\n"
    assert not (app.tree / "srv/d/made").exists()


@pytest.mark.parametrize("seed", [6, 20, 60])
def test_anything_at_all_is_answered(app: App, sanitized: Path, bare: Path, seed: int) -> None:
    """The program's root is read-only: what it asks for at random, it would do to this machine."""
    assert supervise(app, sanitized, str(bare), "noise", str(seed), "3000", sealed=True).endswith("leaf\n")


def test_killed_while_it_waits(app: App, supervised: Path, bare: Path) -> None:
    """A caller whose call is at the door dies at once, and the next one is served."""
    app.door.held = threading.Event()
    script = f'"$0" cat {LEAF} & while [ ! -e {app.tmp}/waits ]; do :; done; kill -9 $!; wait $!; echo $?'
    threading.Thread(target=app.door.when_held, args=((app.tmp / "waits").touch,)).start()
    done = supervise(app, supervised, "bash", "-c", script, str(bare), layered=True)
    assert done == f"{128 + signal.SIGKILL}\n"
    app.door.held.set()
    assert supervise(app, supervised, str(bare), "cat", LEAF) == "leaf\n"


def test_who_connects_and_says_nothing(app: App, supervised: Path, bare: Path) -> None:
    """Strangers at the place where listeners are taken: silent, sending none, sending what is none."""
    stranger = """
import array, os, socket, subprocess, sys
def knock():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("\\0mirror-run/listeners")
    return s
silent = knock()
empty = knock(); empty.recv(1); empty.send(b"x")
other = knock(); socket.send_fds(other, [b"r"], [0, 1]); gone = knock(); gone.close()
sys.exit(subprocess.run([sys.argv[1], "cat", sys.argv[2]]).returncode)
"""
    words = [sys.executable, "-I", "-c", stranger, str(bare), LEAF]
    assert supervise(app, supervised, *words, layered=True) == "leaf\n"


def test_what_a_call_costs(app: App, supervised: Path, bare: Path) -> None:
    """A stat of the container's own: the kernel, two switches, and a decision."""
    with_listener = int(supervise(app, supervised, str(bare), "cost", "/usr/bin/env", "20000"))
    plain = int(
        subprocess.run([str(bare), "cost", "/usr/bin/env", "20000"], capture_output=True, check=True).stdout
    )
    print(f"{plain} ns, with a listener {with_listener} ns")
    assert with_listener < plain + 200_000
