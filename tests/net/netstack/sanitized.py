"""Runs this folder's tests, and those of links that are cut, on a netstack built with the address and
undefined-behaviour sanitizers.

    python -m tests.net.netstack.sanitized [pytest's arguments]

A sanitizer's finding ends the process. Leaks are looked for at its end; Python itself leaves much allocated, so only
those count whose allocation goes through our sources.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WORK = ROOT / "build" / "sanitized" / "netstack"
FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1")
NAME = "layer.netstack._netstack"
OURS = ("/layer/netstack/", "/native/", "/build/lwip/")


def build() -> Path:
    """The module, compiled when a source is newer."""
    from layer.netstack import build as netstack

    WORK.mkdir(parents=True, exist_ok=True)
    return Path(netstack.ffibuilder(FLAGS).compile(tmpdir=str(WORK)))


def run(words: list[str]) -> int:
    """This file again, with the sanitizers' run time loaded before Python; its exit code."""
    module = build()
    runtime = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout
    environment = dict(
        os.environ,
        LD_PRELOAD=runtime.strip(),
        PYTHONMALLOC="malloc",
        ASAN_OPTIONS="detect_stack_use_after_return=1:abort_on_error=0:exitcode=77",
        LSAN_OPTIONS="exitcode=0",
        UBSAN_OPTIONS="print_stacktrace=1",
    )
    command = [sys.executable, "-m", "tests.net.netstack.sanitized", f"--module={module}", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    leaks = [
        block
        for block in done.stderr.split("\n\n")
        if "leak of" in block and any(path in block for path in OURS)
    ]
    if done.returncode or leaks:
        print("\n\n".join(leaks) if leaks else done.stderr, file=sys.stderr)
    return done.returncode or len(leaks)


def inside(module: str, words: list[str]) -> int:
    """The sanitized module takes the ordinary one's place before anybody imports it."""
    import pytest

    spec = importlib.util.spec_from_file_location(NAME, module)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = loaded
    spec.loader.exec_module(loaded)
    here, cut = str(Path(__file__).parent), str(Path(__file__).parents[1] / "resume")
    return int(
        pytest.main(
            [here, cut, "-s", "-q", "-p", "no:cacheprovider", f"--ignore={here}/test_sanitized.py", *words]
        )
    )


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("--module="):
        sys.exit(inside(sys.argv[1].partition("=")[2], sys.argv[2:]))
    sys.exit(run(sys.argv[1:]))
