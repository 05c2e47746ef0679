"""The target's files in the app: by the door, whose protocol a program speaks itself, and through the layer, for
programs that know of nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.models.containers import Container

from . import engine_strict
from .scene import Scene

CLIENT = """
import json, os, socket, struct, sys
def ask(op, path, flags=0):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect("\\0mirror-run/files")
    path = path.encode()
    head = struct.pack("=HHIIIIIHHIqqqqq", 1, op, flags, 0, 0, 0, 0, len(path), 0, 0, 0, 0, 0, 0, 0)
    sock.send(head + path)
    answer, fds, _, _ = socket.recv_fds(sock, 70000, 1)
    return struct.unpack_from("=i", answer)[0], fds
found = {}
for path in sys.argv[1:]:
    result, fds = ask(1, path)
    if fds and os.path.isdir(f"/proc/self/fd/{fds[0]}"):
        found[path] = sorted(os.listdir(fds[0]))
    elif fds:
        found[path] = [os.fstat(fds[0]).st_uid, os.read(fds[0], 1 << 20).decode()]
    else:
        found[path] = result
found["write"] = ask(1, "/etc/hosts", os.O_WRONLY)[0]
found["me"] = os.getuid()
print(json.dumps(found))
"""

SERVE = "mkdir -p /srv/files && echo of the target > /srv/files/mine && echo up && sleep 600"


@pytest.fixture(scope="module")
def files_target(scene: Scene) -> Iterator[Container]:
    made = scene.container("files", ["sh", "-c", SERVE])
    scene.wait_inside(made, "test", "-s", "/srv/files/mine")
    yield made
    scene.remove(made)


def test_by_the_door(scene: Scene, files_target: Container) -> None:
    paths = [
        "/srv/files/mine",
        "/srv/files",
        "/etc/hosts",
        "/srv/none",
        "/proc/self/status",
        "/../srv/files/mine",
    ]
    said = scene.run(files_target, "python3", "-c", CLIENT, *paths, options=("--fs-mode", "read"))
    found = json.loads(said)
    mine = [found["me"], "of the target\n"]
    assert found["/srv/files/mine"] == mine, "root's there, shown as the app's own"
    assert found["/../srv/files/mine"] == mine
    assert found["/srv/files"] == ["mine"]
    assert found["/etc/hosts"][1] == scene.inside(files_target, "cat", "/etc/hosts")
    assert (found["/srv/none"], found["/proc/self/status"], found["write"]) == (-2, -13, -30)


AGAIN = (
    CLIENT.split("found = {}")[0]
    + """
import time
while True:
    result, fds = ask(1, "/srv/files/mine")
    print(os.read(fds[0], 99).decode().strip() if fds else f"errno {-result}", flush=True)
    for fd in fds:
        os.close(fd)
    time.sleep(0.2)
"""
)


def test_a_target_that_is_restarted_has_files_anew(scene: Scene, files_target: Container) -> None:
    run = scene.start(files_target, "python3", "-c", AGAIN, options=("--fs-mode", "read"))
    run.out.wait(lambda line: line == "of the target\n", "a first read")
    files_target.restart(timeout=0)
    scene.wait_inside(files_target, "test", "-s", "/srv/files/mine")
    run.said("is back, and followed")
    run.out.skip()
    run.out.wait(lambda line: line == "of the target\n", "a read after the restart")
    assert run.end() in (143, 0)


def test_without_files_there_is_no_door_and_no_right_for_it(scene: Scene, files_target: Container) -> None:
    tried = (
        "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect('\\0mirror-run/files')"
    )
    run = scene.start(files_target, "python3", "-c", tried, options=("--fs-mode", "local"))
    assert run.wait() == 1
    assert any("Connection refused" in line for line in run.err.seen)


READS = """cat /srv/files/mine; ls /srv/files; cd /srv/files && pwd -P && cat mine; cat /etc/hosts
sha256sum /srv/files/mine | cut -c1-8; find /srv/files -type f; cat /srv/none || echo none; stat -c %U /srv/files/mine
echo more >> mine; wc -l < mine; echo new > made && cat made; cat < made"""


def test_programs_read_and_write_copies(scene: Scene, files_target: Container) -> None:
    """By default: what they read is the target's, what they write nobody there sees."""
    hosts = scene.inside(files_target, "cat", "/etc/hosts")
    there = "of the target\n"
    said = scene.run(files_target, "bash", "-c", READS)
    me = scene.run(files_target, "id", "-un")
    digest = hashlib.sha256(there.encode()).hexdigest()[:8]
    listed = f"{there}mine\n/srv/files\n{there}{hosts}{digest}\n/srv/files/mine\nnone\n{me}2\nnew\nnew\n"
    assert said == listed
    assert scene.inside(files_target, "sh", "-c", "cat /srv/files/*; ls /srv/files") == f"{there}mine\n"


LISTS = """cd /srv/files; ls; echo x > made; mkdir folder; echo y >> mine
for one in 'ls' 'ls -A /srv/files' 'find . -type f' 'busybox ls' 'busybox find /srv/files' 'bash -c "echo *"' \
  "python3 -c 'import os; print(*sorted(os.listdir()), len(list(os.scandir(os.open(\\".\\", 0)))))'" \
  "node -e 'console.log(fs.readdirSync(\\".\\").sort().join())'" 'ls -l made folder mine | wc -l'
do eval "$one" | sort | xargs; done; rm made; rmdir folder; ls"""
LISTED = """mine
folder made mine
folder made mine
./made ./mine
folder made mine
/srv/files /srv/files/folder /srv/files/made /srv/files/mine
folder made mine
folder made mine 3
folder,made,mine
5
mine
"""


def test_what_is_made_is_listed(scene: Scene, files_target: Container) -> None:
    """In a folder that stays the target's, by programs with a layer and without; and what is taken away is not."""
    assert scene.run(files_target, "bash", "-c", LISTS) == LISTED
    assert scene.inside(files_target, "ls", "/srv/files") == "mine\n"


def test_programs_write_where_a_rule_says_so(scene: Scene, files_target: Container) -> None:
    script = "cd /srv/files; echo from the app > theirs; mkdir d; mv theirs d/; cat d/theirs; echo x > /srv/elsewhere"
    options = ("--fs-mode", "overrides", "--fs-read-write", "^/srv/files")
    assert scene.run(files_target, "bash", "-c", script, options=(*options, "-u", "0")) == "from the app\n"
    try:
        assert (
            scene.inside(files_target, "sh", "-c", "cat /srv/files/d/theirs; ls /srv")
            == "from the app\nfiles\n"
        )
    finally:
        scene.inside(files_target, "rm", "-r", "/srv/files/d")


WATCHES = """
const fs = require("fs");
const timer = setTimeout(() => process.exit(3), 60000);
fs.watch("/srv/files", (kind, name) => {
  if (name === "fresh") { console.log(kind, name); clearTimeout(timer); process.exit(0); }
});
console.log("watching");
"""


def test_node_watches(scene: Scene, files_target: Container) -> None:
    run = scene.start(files_target, "node", "-e", WATCHES, options=("--fs-mode", "read"))
    run.out.wait(lambda line: line == "watching\n", "the watch")
    scene.inside(files_target, "sh", "-c", "echo x > /srv/files/fresh")
    run.out.wait(lambda line: line == "rename fresh\n", "what was made")
    assert run.wait() == 0
    scene.inside(files_target, "rm", "/srv/files/fresh")


DATABASE = """set -e
cluster=$(pg_lsclusters -h | awk '{print $1; exit}')
pg_ctlcluster "$cluster" main start
su postgres -c "createuser -s root; createdb -O root shop"
touch /srv/up && sleep 600"""


def test_psql_by_the_socket_of_the_target_s_database(scene: Scene) -> None:
    """Whose user the server asks the kernel for (peer): it is the target's process, whoever runs the app."""
    made = scene.container("database", ["sh", "-c", DATABASE])
    try:
        scene.wait_inside(made, "test", "-e", "/srv/up")
        words = ["psql", "-h", "/var/run/postgresql", "-U", "root", "-d", "shop", "-Atc"]
        query = "select current_user, count(*), inet_server_addr() is null from generate_series(1, 100000)"
        said = scene.run(made, *words, query, options=("--fs-mode", "read"))
        assert said == "root|100000|t\n"
        run = scene.start(made, *words, query, options=("--fs-mode", "read", "--fs-local", "^/var/run/"))
        assert run.wait() != 0
        assert any("No such file or directory" in line for line in run.err.seen)
    finally:
        scene.remove(made)


def test_python_and_a_mapped_path(scene: Scene, files_target: Container) -> None:
    script = """import os, pathlib
print(pathlib.Path("/app/conf/mine").read_text(), os.listdir("/app/conf"), os.path.exists("/app/conf/none"))"""
    options = ("--fs-mode", "read", "--map-path", "/app/conf:/srv/files")
    said = scene.run(files_target, "python3", "-c", script, options=options)
    assert said == "of the target\n ['mine'] False\n"


NO_DEVICE = {b'"/dev/fuse"': b'"/dev/fus0"'}
NO_MOUNT = {b'"SYS_ADMIN"': b'"KILL"     '}


@pytest.mark.parametrize(
    ("less", "said"),
    [
        (NO_DEVICE, "no files of the target: the engine says"),
        (NO_MOUNT, "no files of the target: begin a FUSE file system (is CAP_SYS_ADMIN there?): "),
    ],
    ids=["no device", "no mount"],
)
def test_an_engine_that_forbids_them(
    scene: Scene, files_target: Container, tmp_path: Path, less: dict[bytes, bytes], said: str
) -> None:
    """Who said nothing runs without, and is told; who named a mode is refused."""
    script = ("sh", "-c", "cat /srv/files/mine || echo none of the target; echo mine > /tmp/x && cat /tmp/x")
    with engine_strict.engine(tmp_path, less) as host:
        environment = os.environ | {"DOCKER_HOST": host}
        run = scene.start(files_target, *script, env=environment)
        assert run.wait() == 0, run.err.seen
        assert "".join(run.out.seen) == "none of the target\nmine\n"
        assert [line for line in run.err.seen if "no files" in line and said in line]
        named = scene.start(files_target, *script, options=("--fs-mode", "read"), env=environment)
        assert named.wait() == 125
        assert not named.out.seen
        assert any("--fs-mode local" in line for line in named.err.seen), named.err.seen
