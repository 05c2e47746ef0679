"""The layer's library compiled for tests, a target's tree, and an app that has both in a network of its own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from images import build_native
from native import sources as native
from runner.files.rules import Mode, Rules, Wishes
from tests.net.layer.space import Space

from .standin import StandIn

ROOT = Path(__file__).resolve().parents[3]
LIBRARY = [
    "-std=gnu11",
    "-D_GNU_SOURCE",
    "-O2",
    "-g",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    *native.WARNINGS,
]


COMPILERS = {"glibc": "gcc", "musl": "musl-gcc"}
"""The compiler of each libc that the layer is for."""


@pytest.fixture(scope="session", params=list(COMPILERS))
def libc(request: pytest.FixtureRequest) -> str:
    """Of the library and of the programs, in turn."""
    named: str = request.param
    return named


@pytest.fixture(scope="session")
def programs(libc: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `calls`, and `calls-static` for inside the target."""
    folder = tmp_path_factory.mktemp(f"programs-{libc}")
    source = str(Path(__file__).with_name("calls.c"))
    for name, options in (("calls", []), ("calls-static", ["-static"])):
        command = [COMPILERS[libc], "-O1", f"-I{ROOT}", *options, "-o", str(folder / name), source]
        subprocess.run(command, check=True)
    return folder


def plant(tree: Path) -> None:
    """The target's files; /srv/d is what `calls` looks at."""
    d = tree / "srv" / "d"
    (d / "sub" / "deep").mkdir(parents=True)
    (tree / "etc").mkdir()
    (tree / "proc").mkdir()
    (tree / "etc" / "hostname").write_text("target\n")
    (d / "file").write_text("what is in it\nand more\n")
    (d / "file").chmod(0o640)
    (d / "empty").touch()
    (d / "sub" / "deep" / "leaf").write_text("leaf\n")
    (d / "closed").mkdir(mode=0o700)
    (d / "closed" / "file").write_text("closed\n")
    (d / "odd\udcff").write_text("odd\n")
    texts = {
        "link": "file",
        "dangling": "nope",
        "loop": "loop",
        "linkdir": "sub",
        "up": "..",
        "sub/back": "../file",
    }
    texts |= {"absolute": "/srv/d/file", "absolutedir": "/srv/d/sub", "outside": "/etc/hostname"}
    for name, text in texts.items():
        (d / name).symlink_to(text)
    for path in (d, *d.rglob("*")):
        if not path.is_symlink():
            os.utime(path, (1_000_000_000, 1_000_000_000))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    plant(tmp_path / "target")
    return tmp_path / "target"


@dataclass
class App:
    """Programs with the layer, beside a door over `tree`."""

    tmp: Path
    layer: Path
    """The folder of the libraries, their rules and their copies."""
    tree: Path
    space: Space
    door: StandIn

    def ruled(self, rules: Rules) -> None:
        (self.layer / "rules").write_bytes(b"MRFILES1" + struct.pack("=Q", self.door.device) + rules.packed())

    def run(self, *words: str, layered: bool = True, check: bool = True) -> subprocess.CompletedProcess[str]:
        """To its end; stdout and stderr as text, whatever octets they are."""
        environment = dict(os.environ)
        if layered:
            environment["LD_PRELOAD"] = f"{self.layer}/$LIB/layer.so"
        command = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.space.fd}", "--", *words]
        if layered:  # nsenter is not the app
            command[3:3] = ["env", f"LD_PRELOAD={environment.pop('LD_PRELOAD')}"]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="surrogateescape", timeout=60, input="",
            check=False, cwd=self.tmp,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


def places(folder: Path) -> list[str]:
    """Where rules and copies are, of files and of programs, for the compiler."""
    return [f'-DRULES_FILE="{folder}/rules"', f'-DUPPER="{folder}/upper"', f'-DPROGRAMS="{folder}/programs"']


def build(folder: Path, libc: str = "glibc") -> Path:
    """The library, with rules and copies in `folder`: for glibc where $LIB leads, for musl where that is a name."""
    made = folder / ("$LIB" if libc == "musl" else "lib/x86_64-linux-gnu") / "layer.so"
    made.parent.mkdir(parents=True, exist_ok=True)
    sources = map(str, sorted((ROOT / "layer" / "preload").glob("*.c")))
    words = [COMPILERS[libc], *LIBRARY, *places(folder), f"-I{ROOT}", "-o", str(made), *sources]
    subprocess.run(words, check=True)
    return made


def needed(library: Path) -> set[tuple[int, ...]]:
    """The versions of glibc's symbols that it cannot be loaded without."""
    words = ["readelf", "--version-info", "--wide", str(library)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return {tuple(map(int, one.split("."))) for one in re.findall(r"Name: GLIBC_([0-9.]+)", said)}


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each libc the layer; their rules and copies are in one folder, where a test finds nothing of another's."""
    folder = tmp_path_factory.mktemp("layer")
    return {libc: build(folder, libc) for libc in COMPILERS}


@pytest.fixture(scope="session")
def bare() -> Iterator[Path]:
    """A static program of glibc's, which does what `bare.c` says; beside it `musl`, the same with musl's loader. In a
    folder that all users may enter."""
    source = str(Path(__file__).with_name("bare.c"))
    with tempfile.TemporaryDirectory(prefix="bare-") as folder:
        Path(folder).chmod(0o755)
        made = Path(folder) / "bare"
        subprocess.run(["gcc", "-O1", "-static", f"-I{ROOT}", "-o", str(made), source], check=True)
        subprocess.run(
            ["musl-gcc", "-O1", f"-I{ROOT}", "-o", str(made.with_name("musl")), source], check=True
        )
        yield made


SUPERVISOR = (
    *(
        "supervisor",
        "serve",
        "answer",
        "caller",
        "call",
        "shadow",
        "account",
        "their_socket",
        "watchers",
        "laid",
    ),
)


def build_supervised(folder: Path, name: str, compiler: list[str]) -> Path:
    """mirror-init's part for programs without a layer, with the rules and copies of `folder`."""
    files = [ROOT / "layer" / "init" / f"{name}.c" for name in SUPERVISOR]
    files += [ROOT / "layer" / "preload" / f"{name}.c" for name in build_native.BY_RULES]
    files += [ROOT / "native" / "fault.c", Path(__file__).with_name("supervised.c")]
    options = ["-D_GNU_SOURCE", "-std=gnu11", "-g", "-DLAYER_FOR_OTHERS", *places(folder)]
    options += [f"-I{ROOT}", f"-I{ROOT / 'native'}", "-o", str(folder / name)]
    subprocess.run([*compiler, *options, *map(str, files)], check=True)
    return folder / name


@pytest.fixture(scope="session")
def supervised(app_folder: Path) -> Path:
    """As it is in mirror-init."""
    return build_supervised(app_folder, "supervised", ["musl-gcc", "-O2", "-static", *native.WARNINGS])


@pytest.fixture(scope="session")
def sanitized(app_folder: Path) -> Path:
    """With what finds bugs in it."""
    compiler = ["clang", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    return build_supervised(app_folder, "sanitized", compiler)


@pytest.fixture(scope="session")
def app_folder(libraries: dict[str, Path]) -> Path:
    """Where libraries of every kind find their rules and their copies."""
    return libraries["musl"].parents[1]


@pytest.fixture
def app(tmp_path: Path, tree: Path, libraries: dict[str, Path]) -> Iterator[App]:
    """By its rules /srv and /etc/hostname are the target's to read and write; there is a layer for either libc."""
    folder = libraries["musl"].parents[1]
    for copies in ("upper", "programs"):
        shutil.rmtree(folder / copies, ignore_errors=True)
    (folder / "upper").mkdir()
    space = Space()
    try:
        with StandIn(tree, space) as door:
            made = App(tmp_path, folder, tree, space, door)
            made.ruled(Rules(Mode.OVERRIDES, Wishes(read_write=("^/srv(/|$)", "^/etc/hostname$"))))
            yield made
    finally:
        space.close()


SEALED = """mkdir -p "$0"; mount --bind / "$0" && mount -o remount,bind,ro "$0" && mount -t proc proc "$0/proc" &&
mount -t tmpfs tmpfs "$0/srv" && exec chroot "$0" "$@" """
"""The machine as it is, and nothing of it can be changed."""


def supervise(
    app: App, supervised: Path, *words: str, layered: bool = False, sealed: bool = False, check: bool = True,
    under: tuple[str, ...] = (),
) -> str:  # fmt: skip
    """What a program says that mirror-init's part starts and serves; `layered`: its loader brings the layer; `under`:
    who starts that part. In a mount namespace of its own: directories are made in the container for chdir(2)."""
    script = SEALED if sealed else 'mount -t tmpfs tmpfs /srv && exec "$@"'
    environment = ["env", f"LD_PRELOAD={app.layer}/$LIB/layer.so"] if layered else []
    program, root = shutil.which(words[0]) or words[0], str(app.tmp / "root")
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        script,
        root,
        *environment,
        *under,
        str(supervised),
        program,
        *words[1:],
    ]
    return app.run(*command, layered=False, check=check).stdout


def tooled(tree: Path, programs: Path) -> None:
    """`calls`, linked statically, as a program of the target's; a script of it, and one of that."""
    d = tree / "srv" / "d"
    shutil.copy(programs / "calls-static", d / "tool")
    (d / "script").write_text("#! /srv/d/tool  tell \nthis is not run\n")
    (d / "chain").write_text("#!/srv/d/script\n")
    (d / "absolutetool").unlink(missing_ok=True)
    (d / "absolutetool").symlink_to("/srv/d/tool")
    for name in ("tool", "script", "chain"):
        (d / name).chmod(0o755)
        os.utime(d / name, (1_000_000_000, 1_000_000_000))


@contextmanager
def greeting(tree: Path) -> Iterator[None]:
    """A server of the target's: whoever connects hears a word."""
    d = tree / "srv" / "d"
    (d / "tosocket").symlink_to("/srv/d/socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(d / "socket"))
        server.listen()

        def greet() -> None:
            with suppress(OSError):  # the listener is shut
                while True:
                    visitor, _ = server.accept()
                    with visitor:
                        visitor.sendall(b"hello\n")

        thread = threading.Thread(target=greet, name="greeter")
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def inside(tree: Path, programs: Path, *words: str) -> str:
    """What a static program says in the target itself."""
    shutil.copy(programs / "calls-static", tree / "calls")
    tooled(tree, programs)
    (tree / "proc").mkdir(exist_ok=True)
    mounts = f"mount -t proc proc {tree}/proc && exec chroot {tree} /calls {' '.join(words)}"
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "sh", "-c", mounts],
        capture_output=True,
        check=True,
        timeout=60,
    )
    (tree / "calls").unlink()
    return done.stdout.decode(errors="surrogateescape")


def differing(one: str, other: str) -> Sequence[str]:
    """Lines of two outputs that are not the same, each with its other."""
    a, b = one.splitlines(), other.splitlines()
    pairs = [f"{x!r} is {y!r}" for x, y in zip(a, b, strict=False) if x != y]
    return pairs if len(a) == len(b) else [*pairs, f"{len(a)} lines are {len(b)}"]
