"""Who may import whom, and who may touch what: the rules of the rooms, each with its reason in the failure.

Read from the syntax tree (Python) and the text (C), so nothing has to be importable.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("wire", "links", "runner", "layer", "agent", "native")

MAY_IMPORT = {
    "wire": set(),
    "links": {"wire"},
    "runner": {"wire", "links"},
    "layer": {"wire", "links", "native"},
    "agent": {"wire", "links", "native"},
    "native": set(),
}
WHY = {
    "wire": "the protocol is below everything: pure, so that both languages are held against the same golden bytes",
    "links": "links are only the way messages travel: they know the protocol and nobody who speaks it",
    "runner": "runner, layer and agent run in three places and three versions: what they share is the protocol alone",
    "layer": "runner, layer and agent run in three places and three versions: what they share is the protocol alone",
    "agent": "runner, layer and agent run in three places and three versions: what they share is the protocol alone",
    "native": "native is C that both images compile; its Python only lists the sources",
}

SANS_IO = ("wire",)
"""Packages that decide and never act. Single files say so by name: *_core.py."""
ACTING = {
    "asyncio",
    "socket",
    "select",
    "selectors",
    "subprocess",
    "threading",
    "time",
    "random",
    "secrets",
    "logging",
    "os",
    "io",
}

OUTSIDE_WORLD_FOR_BUILDS = {"build.py", "sources.py"}
"""Run by whoever compiles, not part of the running product."""

FFI = {
    "layer": ("layer/netstack/engine.py", "layer/netstack/build.py", "layer/netstack/_netstack.pyi"),
    "agent": ("agent/engine.py", "agent/build.py", "agent/_engine.pyi"),
}
"""The one wrapper of each room that may see C (and what builds and describes it)."""

SETNS = {"agent/netns.c", "agent/netns.h"}
PRINTS = {"runner/screen.py"}


def sources(room: str, suffix: str = ".py") -> list[Path]:
    return sorted(path for path in (ROOT / room).rglob(f"*{suffix}") if "__pycache__" not in path.parts)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of each module imported; "a.b" for `from a import b` as well as `import a.b`."""
    package = name_of(path).removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def every_file() -> list[Path]:
    return [path for room in ROOMS for path in sources(room)]


def test_there_is_something_to_check() -> None:
    for room in ("wire", "links", "runner", "layer", "agent"):
        assert sources(room), f"{room}/ has no Python file: has it moved?"
    assert sources("native", ".c"), "native/ has no C file: has it moved?"


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_downwards_only(room: str) -> None:
    for path in sources(room):
        for line, module in imports(path):
            other = module.split(".")[0]
            if other in ROOMS and other != room:
                assert other in MAY_IMPORT[room], f"{name_of(path)}:{line} imports {module}: {WHY[room]}"


def test_nothing_imports_tests_or_images() -> None:
    for path in every_file():
        for line, module in imports(path):
            assert module.split(".")[0] not in {"tests", "images"}, (
                f"{name_of(path)}:{line} imports {module}: neither is part of what is installed"
            )


def test_cores_do_no_io() -> None:
    cores = [path for room in SANS_IO for path in sources(room)]
    cores += [path for path in every_file() if path.stem.endswith("_core")]
    assert cores
    for path in cores:
        for line, module in imports(path):
            assert module.split(".")[0] not in ACTING, (
                f"{name_of(path)}:{line} imports {module}: a core is given events and time, and answers what to do; "
                "then a test is a transcript and no clock, socket or log decides what it does"
            )


@pytest.mark.parametrize("room", ["runner", "layer", "agent", "wire", "links"])
def test_c_is_seen_by_one_wrapper(room: str) -> None:
    allowed = FFI.get(room, ())
    for path in sources(room):
        if name_of(path) in allowed:
            continue
        for line, module in imports(path):
            assert not {"cffi", "ffi", "_netstack", "_engine", "_cffi_backend"} & set(module.split(".")), (
                f"{name_of(path)}:{line} imports {module}: pointers live in one wrapper of each room "
                f"({', '.join(allowed) or 'none here'}), where who owns what can be read in one place"
            )


def test_setns_in_one_file() -> None:
    for room in ROOMS:
        for path in [*sources(room, ".c"), *sources(room, ".h"), *sources(room)]:
            if name_of(path) not in SETNS:
                code = without_comments(path)
                assert not re.search(r"\bsetns\s*\(", code), (
                    f"{name_of(path)} calls setns: entering a namespace and not coming back is the one mistake nothing "
                    f"mends, so one file does it ({', '.join(sorted(SETNS))}): enter, make an fd, leave, or abort"
                )


def without_comments(path: Path) -> str:
    text = path.read_text()
    if path.suffix == ".py":
        return "\n".join(
            re.sub(r"#.*", "", line) for line in re.sub(r'"""(?s:.*?)"""', "", text).splitlines()
        )
    return re.sub(r"/\*(?s:.*?)\*/|//[^\n]*", "", text)


def attributes(path: Path, module: str, names: set[str]) -> Iterator[int]:
    """Lines where `module.name` is used or `from module import name` stands."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == module and node.attr in names:
                yield node.lineno
        elif (
            isinstance(node, ast.ImportFrom)
            and node.module == module
            and {a.name for a in node.names} & names
        ):
            yield node.lineno


READS_ENVIRONMENT = {"runner/config.py", "layer/settings.py", "agent/settings.py"}


def test_environment_is_read_in_one_place() -> None:
    for path in every_file():
        if name_of(path) in READS_ENVIRONMENT or path.name in OUTSIDE_WORLD_FOR_BUILDS:
            continue
        for line in attributes(path, "os", {"environ", "getenv", "environb"}):
            raise AssertionError(
                f"{name_of(path)}:{line} reads the environment: settings are read once, in "
                f"{', '.join(sorted(READS_ENVIRONMENT))}, and passed as arguments; "
                "otherwise nobody can say what a run depends on"
            )


def test_only_the_screen_prints() -> None:
    for path in every_file():
        if name_of(path) in PRINTS or path.name in OUTSIDE_WORLD_FOR_BUILDS:
            continue
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                raise AssertionError(
                    f"{name_of(path)}:{node.lineno} prints: stdout is the app's, stderr belongs to runner/screen.py, "
                    "which knows when the terminal is raw"
                )


def test_c_files_keep_to_their_room() -> None:
    """C of layer and of agent include their own and native's headers, never each other's."""
    for room, foreign in (("layer", "agent"), ("agent", "layer"), ("native", "agent"), ("native", "layer")):
        theirs = {path.name for path in sources(foreign, ".h")} - {path.name for path in sources(room, ".h")}
        if room != "native":
            theirs -= {path.name for path in sources("native", ".h")}
        for path in [*sources(room, ".c"), *sources(room, ".h")]:
            for included in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), flags=re.MULTILINE):
                assert Path(included).name not in theirs, f"{name_of(path)} includes {included}: {WHY[room]}"


def test_no_c_global_is_writable() -> None:
    """Only in the programs that are one file; the libraries' state hangs on what its owner thread made."""
    programs = {"agent/link.c"}
    for room in ("native", "agent"):  # lwIP, and so the netstack, is one per process by its own making
        for path in sources(room, ".c"):
            if name_of(path) in programs:
                continue
            for line in without_comments(path).splitlines():
                if re.match(
                    r"static (?!const\b|inline\b|_Atomic\b|_Thread_local\b)[\w\s*]+\b\w+(\[[^\]]*\])*( =.*)?;$",
                    line,
                ):
                    assert " const " in line or "__thread" in line, (
                        f"{name_of(path)}: `{line.strip()}` is a writable global: C here has one owner thread and no "
                        "state of its own, so that two engines fit into one process and a test needs no reset"
                    )
