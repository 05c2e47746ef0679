"""The layer where little is allowed: ahead of constructors, in handlers, after fork, without memory, under filters."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from .conftest import COMPILERS, App

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def safe(libc: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, where any user may run it."""
    made = tmp_path_factory.mktemp(f"safe-{libc}") / "safe"
    source = str(HERE / "safe.c")
    headers = [
        "-idirafter",
        "/usr/include",
        "-idirafter",
        "/usr/include/x86_64-linux-gnu",
    ]  # the kernel's, for musl
    subprocess.run([COMPILERS[libc], "-O1", *headers, "-o", str(made), source, "-lpthread"], check=True)
    return made


@pytest.mark.parametrize("libc", ["glibc"], indirect=True)
def test_ahead_of_every_constructor(app: App, safe: Path) -> None:
    """By .preinit_array, which musl's loader does not know."""
    (app.tmp / "own").write_text("own\n")
    assert app.run(str(safe), "constructor").stdout == "safe\n"


@pytest.mark.parametrize("way", ["handler", "fork", "vfork", "memory", "filter", "refusing", "old"])
def test_safe(app: App, safe: Path, way: str) -> None:
    (app.tmp / "own").write_text("own\n")
    said = app.run(str(safe), way).stdout
    assert said.endswith("safe\n"), said
    assert said.startswith("what is in it\n") == (way == "vfork")


def test_a_setuid_program_has_no_layer(app: App, safe: Path) -> None:
    """ld.so(8): secure-execution mode. A plain one, run by the same user, has."""
    private = Path("/var/tmp") / f"mirror-run-safe-{os.getpid()}"  # where every user may go
    private.write_bytes(safe.read_bytes())
    try:
        private.chmod(0o755)
        who = ["setpriv", "--reuid", "1234", "--clear-groups", str(private), "hostname"]
        top = Path(tempfile.gettempdir())
        for folder in (app.layer, *(one for one in app.layer.parents if top in one.parents)):
            folder.chmod(0o755)
        assert app.run(*who).stdout == "target\n"
        private.chmod(0o4755)
        assert app.run(*who).stdout == Path("/etc/hostname").read_text()
    finally:
        private.unlink()


def test_what_else_is_preloaded_works_too(app: App, tmp_path: Path) -> None:
    also = tmp_path / "also.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(also), str(HERE / "also.c")], check=True)
    done = app.run("env", f"LD_PRELOAD={also}:{app.layer}/$LIB/layer.so", "cat", "/srv/d/file")
    assert (done.stdout, done.stderr) == ("what is in it\nand more\n", "seen\n")
