"""Programs as they are: what they read is the target's, what is not the target's is untouched."""

from __future__ import annotations

import shutil
import sqlite3
import sys

import pytest

from runner.files.rules import Mode, Rules, Wishes

from .conftest import App, greeting

READING = [
    (["cat", "/srv/d/file", "/srv/d/absolute", "/srv/d/sub/../link"], "what is in it\nand more\n" * 3),
    (
        ["sh", "-c", "cat < /srv/d/up/d/sub/deep/leaf; read l < /srv/d/sub/../link; echo $l"],
        "leaf\nwhat is in it\n",
    ),
    (
        ["bash", "-c", "cd /srv/d/sub && pwd -P && cat deep/leaf ../empty && echo */*"],
        "/srv/d/sub\nleaf\ndeep/leaf\n",
    ),
    (
        ["bash", "-c", "shopt -s nullglob; for f in /srv/d/[ef]*; do echo $f; done"],
        "/srv/d/empty\n/srv/d/file\n",
    ),
    (["find", "/srv/d/sub", "-type", "f"], "/srv/d/sub/deep/leaf\n"),
    (["find", "/srv/d", "-name", "l*f", "-printf", "%p %s\n"], "/srv/d/sub/deep/leaf 5\n"),
    (["ls", "-R", "/srv/d/sub"], "/srv/d/sub:\nback\ndeep\n\n/srv/d/sub/deep:\nleaf\n"),
    (["readlink", "-f", "/srv/d/absolutedir/deep"], "/srv/d/sub/deep\n"),
    (["stat", "-c", "%s %a %F", "/srv/d/file"], "23 640 regular file\n"),
    (["sha256sum", "/srv/d/sub/deep/leaf"], None),
    (["grep", "-r", "leaf", "/srv/d/sub"], "/srv/d/sub/deep/leaf:leaf\n"),
    (["wc", "-c", "/srv/d/file"], "23 /srv/d/file\n"),
    (["head", "-c4", "/etc/hostname"], "targ"),
]


@pytest.mark.parametrize(("words", "says"), READING, ids=lambda one: one[0] if isinstance(one, list) else "")
def test_reading(app: App, words: list[str], says: str | None) -> None:
    said = app.run(*words).stdout
    if says is None:
        there = app.run(*words[:-1], str(app.tree / "srv/d/sub/deep/leaf"), layered=False).stdout
        assert said.split()[0] == there.split()[0]
    else:
        assert said == says


def test_python_reads_lists_maps_and_imports(app: App) -> None:
    package = app.tree / "srv" / "py" / "shop"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from shop.prices import PRICE\n")
    (package / "prices.py").write_text("PRICE = 42\n")
    script = """
import mmap, os, pathlib, sys
sys.path.insert(0, "/srv/py"); import shop; print(shop.PRICE, shop.__file__)
d = pathlib.Path("/srv/d"); print(sorted(one.name for one in d.iterdir() if one.is_file()))
print(sorted(e.name for e in os.scandir("/srv/d/sub") if e.is_dir()), (d / "absolute").read_text()[:4])
with open("/srv/d/file", "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m: print(m[:4])
os.chdir("/srv/d/sub"); print(os.getcwd(), open("deep/leaf").read(), pathlib.Path("..").resolve(), os.path.realpath(""))
print(sorted(str(p) for p in d.glob("sub/**/l*f")), list(os.walk("/srv/d/sub"))[1])
"""
    said = app.run(sys.executable, "-I", "-c", script).stdout.splitlines()
    assert said == [
        "42 /srv/py/shop/__init__.py",
        "['absolute', 'empty', 'file', 'link', 'odd\\udcff', 'outside']",
        "['deep'] what",
        "b'what'",
        "/srv/d/sub leaf",
        " /srv/d /srv/d/sub",
        "['/srv/d/sub/deep/leaf'] ('/srv/d/sub/deep', [], ['leaf'])",
    ]


def test_sqlite_reads_a_database(app: App) -> None:
    with sqlite3.connect(app.tree / "srv" / "db.sqlite") as db:
        db.execute("create table t (x)")
        db.executemany("insert into t values (?)", [(n,) for n in range(1000)])
    db.close()
    script = """import sqlite3; db = sqlite3.connect("file:/srv/db.sqlite?mode=ro", uri=True)
print(db.execute("select sum(x) from t").fetchone())"""
    assert app.run(sys.executable, "-c", script).stdout == "(499500,)\n"


def test_node_reads_streams_and_lists(app: App) -> None:
    if not (node := shutil.which("node")):
        pytest.fail("node is needed: images/host/packages.txt, group test")
    script = """
const fs = require("fs"), p = require("fs/promises");
(async () => {
  console.log((await p.readFile("/srv/d/file", "utf8")).length, (await p.readdir("/srv/d/sub")).sort().join());
  let n = 0; for await (const c of fs.createReadStream("/srv/d/absolute")) n += c.length; console.log(n);
  process.chdir("/srv/d/sub"); console.log(process.cwd(), fs.realpathSync("deep"), fs.existsSync("/srv/d/nothing"));
})();
"""
    assert app.run(node, "-e", script).stdout == "23 back,deep\n23\n/srv/d/sub /srv/d/sub/deep false\n"


def test_writing_in_the_target(app: App) -> None:
    script = """cd /srv/d; echo more >> file; cat > new <<END
here
END
mv new sub/; mkdir -p a/b; cp file a/b/; rm -r a; tar cf t.tar sub; tar tf t.tar | wc -l"""
    assert app.run("bash", "-c", script).stdout == "5\n"
    d = app.tree / "srv" / "d"
    assert (d / "file").read_text().endswith("more\n")
    assert (d / "sub" / "new").read_text() == "here\n"
    assert not (d / "a").exists()
    assert (d / "t.tar").stat().st_size > 0


def test_what_may_only_be_read_is_written_to_a_copy(app: App) -> None:
    """Read-modify-write loses nothing, every process of the app sees it, and the target is as it was."""
    app.door.read_only()
    app.ruled(Rules(Mode.OVERRIDES, Wishes(read_only=("^/srv(/|$)",))))
    d = app.tree / "srv" / "d"
    before = {path: path.read_bytes() for path in d.rglob("*") if path.is_file()}
    script = """
set -u; cd /srv/d; echo appended >> file; tail -n1 file
sed -i s/what/that/ file; head -n1 /srv/d/link /srv/d/file | head -2
sh -c 'cat /srv/d/file' | wc -l; chmod 600 file; stat -c %a file; : > sub/deep/leaf; wc -c < sub/deep/leaf
echo new > fresh; cat fresh; mkdir made; echo x > made/y; cat made/y
mv fresh made/moved; cat made/moved; rm made/y; ls made
rm empty; echo $?; mv empty elsewhere; echo $?
mkdir nothing/there; echo $?; echo x > nothing/there; echo x > sub
ls | wc -l; ls sub; cd sub; pwd; cat ../made/moved ../file | wc -l; cd /srv/d
rmdir sub; echo $?; mkdir sub; echo $?; install -d -m 1777 open; echo x > open/y; ls -A open; stat -c %a open; echo done
"""
    done = app.run("bash", "-c", script)
    assert done.stdout.split("\n") == [
        "appended",
        "==> /srv/d/link <==",
        "what is in it",
        "3",
        "600",
        "0",
        "new",
        "x",
        "new",
        "moved",
        "1",
        "1",
        "1",
        str(len(list(d.iterdir()))),
        "back",
        "deep",
        "/srv/d/sub",
        "4",
        "1",
        "1",
        "y",
        "1777",
        "done",
        "",
    ]
    said = done.stderr
    assert "cannot remove 'empty': Read-only file system" in said
    assert "nothing/there: No such file or directory" in said
    assert "sub: Is a directory" in said
    assert {path: path.read_bytes() for path in d.rglob("*") if path.is_file()} == before


def test_not_found_and_mapped(app: App) -> None:
    (app.tree / "srv" / "secret").write_text("s")
    wishes = Wishes(not_found=("^/srv/secret",), read_only=("^/srv(/|$)",), mapped=(("/app/conf", "/srv/d"),))
    app.ruled(Rules(Mode.OVERRIDES, wishes))
    done = app.run(
        "sh", "-c", "cat /app/conf/file; cat /srv/secret; ls /srv; cd /app/conf/sub && cat deep/leaf"
    )
    assert done.stdout == "what is in it\nand more\nd\nsecret\nleaf\n"
    assert "/srv/secret: No such file or directory" in done.stderr


PYTHON_BINDS = """
import os, socket
s = socket.socket(socket.AF_UNIX); s.bind("/srv/d/own"); s.listen(); c = socket.socket(socket.AF_UNIX)
c.setblocking(False); c.connect("/srv/d/own"); a, _ = s.accept(); a.send(b"x")
print(c.recv(1), os.path.exists("/srv/d/own"))
for path in ("/srv/d/file", "/srv/d/nothing/there"):
    try: socket.socket(socket.AF_UNIX).bind(path)
    except OSError as error: print(error.strerror)
d = "/srv/" + "d" * 90; os.mkdir(d); os.chdir(d); s = socket.socket(socket.AF_UNIX); s.bind("long"); s.listen()
socket.socket(socket.AF_UNIX).connect("long"); print(sorted(os.listdir("/srv/d"))[:3])
"""


PYTHON_REPLACES = """
import os, socket, stat
path = "/srv/d/socket"
c = socket.socket(socket.AF_UNIX); c.connect(path); print(c.recv(9))
if stat.S_ISSOCK(os.stat(path).st_mode): os.remove(path)
s = socket.socket(socket.AF_UNIX); s.bind(path); os.chmod(path, 0o666); s.listen()
c = socket.socket(socket.AF_UNIX); c.connect(path); a, _ = s.accept(); a.send(b"the app's"); print(c.recv(9))
os.remove(path); c = socket.socket(socket.AF_UNIX); c.connect(path); print(c.recv(9))
try: os.rename("/srv/d/socket", "/srv/d/other")
except OSError as error: print(error.strerror)
"""


def test_a_socket_in_the_place_of_the_targets(app: App) -> None:
    """As servers begin: what is there is taken away, and they listen by its name."""
    app.ruled(Rules(Mode.OVERRIDES, Wishes(read_only=("^/srv(/|$)",))))
    with greeting(app.tree):
        said = app.run(sys.executable, "-I", "-c", PYTHON_REPLACES).stdout
    assert said.splitlines() == ["b'hello\\n'", 'b"the app\'s"', "b'hello\\n'", "Read-only file system"]


def test_a_socket_of_the_apps_own_is_among_its_copies(app: App) -> None:
    app.door.read_only()
    app.ruled(Rules(Mode.OVERRIDES, Wishes(read_only=("^/srv(/|$)",))))
    said = app.run(sys.executable, "-I", "-c", PYTHON_BINDS).stdout.splitlines()
    assert said[:3] == ["b'x' True", "Address already in use", "No such file or directory"]
    app.ruled(Rules(Mode.OVERRIDES, Wishes(read_write=("^/srv(/|$)",))))
    script = 'import socket; socket.socket(socket.AF_UNIX).bind("/srv/d/own")'
    assert "Operation not permitted" in app.run(sys.executable, "-I", "-c", script, check=False).stderr


PYTHON_RUNS = """
import os, subprocess, sys
for run in (["/srv/d/hello", "a"], ["./hello", "b"]):
    print(subprocess.run(run, cwd="/srv/d", capture_output=True, text=True).stdout, end="")
pid = os.posix_spawn("/srv/d/hello", ["hello", "c"], os.environ); os.waitpid(pid, 0)
print(os.path.exists("inventory"), os.path.exists("/srv/d/hello"), os.getcwd())
os.chdir("/srv/d/sub"); subprocess.run(["../hello", "d"], cwd="/tmp"); print(os.path.exists("deep"))
"""


def test_programs_of_the_target_are_run_where_a_rule_says_so(app: App) -> None:
    (app.tree / "srv/d/hello").write_text('#!/bin/sh -u\necho "$0 $1"\n')
    (app.tree / "srv/d/hello").chmod(0o755)
    shutil.copy("/bin/echo", app.tree / "srv/d/say")
    said = app.run(
        "bash", "-c", "/srv/d/hello x; /srv/d/say y; cd /srv/d; ./hello z; PATH=/srv/d; say w"
    ).stdout
    assert said == "/srv/d/hello x\ny\n./hello z\nw\n"
    said = app.run(sys.executable, "-I", "-u", "-c", PYTHON_RUNS, check=False)
    assert said.stdout.splitlines()[:3] == ["/srv/d/hello a", "./hello b", "/srv/d/hello c"]
    assert f"False True {app.tmp}" in said.stdout  # what a child of vfork's changed is not ours
    assert "No such file" in said.stderr


def test_programs_of_the_target_are_not_run_where_none_does(app: App) -> None:
    (app.tree / "srv/tool").write_text("#!/bin/sh\necho run\n")
    (app.tree / "srv/tool").chmod(0o755)
    app.ruled(Rules(Mode.READ))
    done = app.run("bash", "-c", "/srv/tool; echo $?; /srv/nothing; echo $?; PATH=/srv:$PATH; tool; echo $?")
    assert done.stdout == "126\n127\n126\n"
    assert done.stderr.count("Permission denied") == 2
    assert "/srv/nothing: No such file or directory" in done.stderr


def test_mapped_by_a_pattern(app: App) -> None:
    mapped = ((r"^/home/([^/]+)/(?:conf|config)/(.*)\.local$", r"/srv/\1/\2"), ("/elsewhere", "/srv"))
    wishes = Wishes(read_only=("^/srv(/|$)",), mapped=mapped)
    app.ruled(Rules(Mode.OVERRIDES, wishes))
    paths = "/home/d/conf/file.local /home/x/../d/config/sub/deep/leaf.local /elsewhere/d/sub/deep/leaf"
    script = f"cat {paths}; ls /home/d/conf/file"
    done = app.run("sh", "-c", script, check=False)
    assert done.stdout == "what is in it\nand more\nleaf\nleaf\n"
    assert "/home/d/conf/file: No such file" in done.stderr.replace("'", "")
    long = "/home/" + "d/" * 1000 + "conf/x.local"
    assert app.run("cat", long, check=False).returncode == 1


def test_one_ask_for_each_open(app: App) -> None:
    app.door.asked.clear()
    app.run("cat", "/srv/d/file")
    assert app.door.asked == {1: 1}
