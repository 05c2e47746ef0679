"""The list of hooks is what the library exports, and what it costs and promises is true of the built thing."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .conftest import ROOT, App, needed

PRELOAD = ROOT / "layer" / "preload"


def listed() -> set[str]:
    return set(re.findall(r"^HOOK\((\w+), \w+\)$", (PRELOAD / "hooks.def").read_text(), re.MULTILINE))


def symbols(library: Path, *options: str) -> set[str]:
    text = subprocess.run(
        ["nm", "-D", *options, str(library)], capture_output=True, text=True, check=True
    ).stdout
    return {line.split()[-1].split("@")[0] for line in text.splitlines()}


def test_what_is_listed_is_exported_and_nothing_else(libraries: dict[str, Path]) -> None:
    assert symbols(libraries["glibc"], "--defined-only") == listed()


def test_it_loads_wherever_glibc_is_2_17(libraries: dict[str, Path]) -> None:
    assert max(needed(libraries["glibc"])) <= (2, 17)
    assert not needed(libraries["musl"])


def test_no_hook_uses_what_it_hooks_or_prints(libraries: dict[str, Path]) -> None:
    used = symbols(libraries["glibc"], "--undefined-only")
    assert not used & {"printf", "snprintf", "fprintf", "puts", "connect", "pthread_mutex_lock", "abort_"}
    assert not used & (listed() - {"realpath"})


def test_a_program_without_rules_is_left_alone(app: App) -> None:
    (app.layer / "rules").unlink()
    assert app.run("cat", "/etc/hostname").stdout == Path("/etc/hostname").read_text()


def test_rules_that_are_not_sound_are_none(app: App) -> None:
    whole = (app.layer / "rules").read_bytes()
    for cut in (0, 7, 20, 100, len(whole) - 1):
        (app.layer / "rules").write_bytes(whole[:cut])
        assert app.run("cat", "/etc/hostname").stdout == Path("/etc/hostname").read_text()
    (app.layer / "rules").write_bytes(whole[:-400] + b"\xff" * 400)
    assert app.run("cat", "/etc/hostname").stdout == Path("/etc/hostname").read_text()


def test_without_a_door_the_target_s_files_cannot_be_had(app: App) -> None:
    words = ["cat", "/etc/hostname"]
    assert app.run(*words).stdout == "target\n"
    done = subprocess.run(
        words, env={"LD_PRELOAD": f"{app.layer}/$LIB/layer.so"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "Input/output error" in done.stderr
