"""Programs as they are, reading the target's files: each says the same as where the files are."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from difflib import unified_diff

import pytest
from docker.models.containers import Container

from .scene import PATIENCE, Run, Scene

SHELL = """
import json, subprocess, sys
print("ready", flush=True)
for line in sys.stdin:
    done = subprocess.run(["bash", "-c", json.loads(line)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, cwd="/")
    print(json.dumps([done.returncode, done.stdout.decode(errors="backslashreplace")]), flush=True)
"""

BROUGHT_ALONG = ("--fs-read-only", "^/srv/py(/|$)")
"""A rule of the user's: a language's modules are the container's own where nobody says otherwise."""


class Both:
    """The target, and one app on it that runs what it is told."""

    def __init__(self, scene: Scene, target: Container, run: Run) -> None:
        self._scene = scene
        self.target = target
        self._run = run
        run.out.wait(lambda line: line == "ready\n", "the app")

    def here(self, script: str) -> tuple[int, str]:
        """In the app."""
        assert self._run.process.stdin is not None
        self._run.process.stdin.write(json.dumps(script) + "\n")
        self._run.process.stdin.flush()
        code, said = json.loads(self._run.out.wait(lambda line: True, script, 2 * PATIENCE))
        return code, said

    def there(self, script: str) -> tuple[int, str]:
        """In the target."""
        done = subprocess.run(
            ["docker", "exec", "-w", "/", str(self.target.name), "bash", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="backslashreplace")

    def same(self, script: str) -> str:
        """What it says in the target, and as the app."""
        script = f"exec 2>&1; export LC_ALL=C.UTF-8; {script}"
        code, there = self.there(script)
        assert code == 0, there
        code, here = self.here(script)
        told = unified_diff(there.splitlines(), here.splitlines(), "in the target", "as the app", lineterm="")
        assert (code, here == there) == (0, True), f"{script}: {code}\n" + "\n".join(told)
        return there


@pytest.fixture(scope="module")
def both(scene: Scene) -> Iterator[Both]:
    target = scene.container("programs", ["sh", "/programs/stage_files.sh"])
    scene.wait_inside(target, "test", "-e", "/srv/ready")
    run = scene.start(target, "python3", "-c", SHELL, options=BROUGHT_ALONG, stdin=subprocess.PIPE)
    scene.runs.remove(run)  # it outlives the tests
    yield Both(scene, target, run)
    assert run.process.stdin is not None
    run.process.stdin.close()
    assert run.wait() == 0
    assert any("read from the target" in line for line in run.err.seen)
    scene.remove(target)


def test_bash_and_its_tools(both: Both) -> None:
    said = both.same("bash /programs/reads.sh")
    assert "deep/er/still/one\n" in said


def test_python(both: Both) -> None:
    said = both.same("python3 /programs/reads.py")
    assert "import 42" in said
    assert "sqlite (5000, 12497500, 'item 999')" in said


def test_node(both: Both) -> None:
    assert "stream " in both.same("node /programs/reads.js")


def test_java_nio(both: Both) -> None:
    assert "/srv/data/lines\n1000\n-1 true\n" in both.same("java -Xshare:auto -cp /programs Reads /srv/data")


def test_git(both: Both) -> None:
    git = "git -C /srv/repo"
    said = both.same(
        f"{git} log --format=%s; {git} status --short; {git} diff; {git} show HEAD:file3; {git} fsck"
    )
    assert "commit 3\ncommit 2\ncommit 1\n M file1\n?? untracked\n" in said
    both.same("cd /tmp && rm -rf clone && git clone -q /srv/repo clone && cat clone/file3 && rm -rf clone")


def test_what_git_commits_is_the_app_s_copy(both: Both) -> None:
    log = "git -C /srv/repo log -1 --format=%s; git -C /srv/repo status --short"
    before = both.there(log)
    code, said = both.here(f"cd /srv/repo && git commit -qam 'of the app' && {log}")
    assert (code, said) == (0, "of the app\n?? untracked\n")
    assert both.there(log) == before


def test_nginx(both: Both) -> None:
    ask = "curl -sS --unix-socket /tmp/www.sock http://x"
    said = both.same(
        "nginx -c /programs/serve_www.conf && "
        f"{ask}/; {ask}/large.bin | sha256sum; {ask}/large.bin -r 1000-1999 | sha256sum; {ask}/folder/;"
        f"{ask}/folder/a.txt;"
        f"{ask}/none -o /dev/null -w '%{{http_code}}\\n'; kill $(cat /tmp/nginx-www.pid)"
    )
    assert said.startswith("<p>of the target</p>\n")
    assert said.endswith("hello\n404\n")


def test_psql_with_certificates(both: Both) -> None:
    """libpq refuses a key that is another user's, or that others may read."""
    way = "host=localhost port=5433 user=shop dbname=postgres sslmode=verify-full"
    files = "sslrootcert=/srv/tls/ca.crt sslcert=/srv/tls/shop.crt sslkey=/srv/tls/shop.key"
    question = "select current_user, ssl, client_dn from pg_stat_ssl where pid = pg_backend_pid()"
    assert both.same(f'psql "{way} {files}" -Atc "{question}"') == "shop|t|/CN=shop\n"
    assert both.here(f'psql "{way} sslrootcert=/srv/tls/server.crt" -c "select 1"')[0] == 2


WATCH = """
const fs = require("fs");
fs.watchFile("/srv/data/watched", { interval: 50 }, (now, before) => console.log(before.size, now.size));
fs.stat("/srv/data/watched", (error, found) => console.log("watching", found.size));
"""


def test_a_watch_by_stat_sees_what_the_target_changes(scene: Scene, both: Both) -> None:
    both.there("echo one > /srv/data/watched")
    run = scene.start(both.target, "node", "-e", WATCH)
    run.out.wait(lambda line: line == "watching 4\n", "the watch")
    both.there("echo and two >> /srv/data/watched")
    run.out.wait(lambda line: line == "4 12\n", "the change")
    assert run.end() in (143, 0)
