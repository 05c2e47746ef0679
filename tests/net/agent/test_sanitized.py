"""The agent's C under the address and undefined-behaviour sanitizers: the dialling tests again, and a leak check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cffi import FFI

from agent import build
from images.build_native import HTTP_LIBRARIES, compiled_regex
from native import sources as native
from tests.net.agent.lab import WORLD4, Lab

pytestmark = [pytest.mark.net, pytest.mark.native]

ROOT = Path(__file__).resolve().parents[3]
OUT = ROOT / "build" / "sanitized" / "engine"
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-fno-omit-frame-pointer"]


def compiler_says(name: str) -> str:
    """Where gcc has this library."""
    done = subprocess.run(["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True)
    return str(Path(done.stdout.strip()).resolve())


@pytest.fixture(scope="module")
def module() -> Path:
    """The extension module; cffi compiles it in a process of its own, because distutils keeps options in globals."""
    code = f"from tests.net.agent.test_sanitized import compile_module; compile_module({str(OUT)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1])


def compile_module(out: str) -> None:
    """Prints its path last."""
    os.chdir(ROOT)
    ffi: FFI = build.ffibuilder(compiled_regex(Path(out)))
    name, source, extension, options = ffi._assigned_source
    options["extra_compile_args"] = [*native.CFLAGS, *SANITIZE]
    options["extra_link_args"] = SANITIZE
    ffi._assigned_source = (name, source, extension, options)
    print(ffi.compile(tmpdir=out))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "tests", ["agent/test_dial_tcp.py", "agent/test_dial_udp.py", "agent/test_limits.py", "resume"]
)
def test_dialling(module: Path, tests: str) -> None:
    """Leaks are the other test's: an interpreter leaves too much of its own."""
    environ = os.environ | {
        "LD_PRELOAD": f"{compiler_says('libasan.so')} {compiler_says('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "AGENT_ENGINE": str(module),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.net.agent.sanitized",
        f"tests/net/{tests}",
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
    assert " passed" in done.stdout


@pytest.fixture(scope="module")
def relay() -> Path:
    """relay.c with all of the agent's and native's C."""
    made = OUT / "relay"
    made.parent.mkdir(parents=True, exist_ok=True)
    files = [str(Path(__file__).with_name("relay.c")), *build.sources(), *native.sources()]
    flags = [
        "-std=gnu11",
        "-g",
        *native.DEFINES,
        *native.WARNINGS,
        *SANITIZE,
        f"-I{ROOT}",
        f"-I{ROOT}/native",
    ]
    done = subprocess.run(
        ["gcc", *flags, *files, compiled_regex(made.parent), *HTTP_LIBRARIES, "-lpthread", "-o", str(made)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.parametrize(
    "words",
    [["up", "1"], ["down", "1"], ["connects", "1", "16"], ["idle", "300"]],
    ids=lambda words: words[0],
)
def test_everything_is_given_back(lab: Lab, relay: Path, words: list[str]) -> None:
    spaces = [f"/run/netns/{lab.target}", f"/run/netns/{lab.world}", WORLD4]
    done = subprocess.run(
        [str(relay), *spaces, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"ASAN_OPTIONS": "detect_leaks=1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("{")
