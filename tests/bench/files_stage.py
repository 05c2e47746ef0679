"""Where the rows of files are measured: one tree of files, and who gives it to a program: this machine itself, a
pass-through FUSE, sshfs over loopback, and the product.

The product is bridge and agent as for every other row, the target a process whose root the tree is, and the app any
program with the layer loaded. Peers are mounted in a mount namespace of their own.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from images.build_native import BY_RULES
from runner.files.rules import Mode, Rules, Wishes
from tests.bench import peers, product
from tests.bench.spaces import APP_ADDRESS, SERVER, Space, checked, wait_for_listener
from tests.net.files.lab import Target

LARGE = 1 << 30
BESIDE = 8  # files that are read at once
SMALLS, STATS, FOLDERS, MODULES = 1000, 10_000, 100, 2000
PACKAGES = {"sshfs": "sshfs", "sshd": "openssh-server", "pkg-config": "pkg-config"}
HERE, ROOT = Path(__file__).resolve().parent, product.ROOT
SSH_PORT = 5222


@dataclass(frozen=True, slots=True)
class Given:
    """The tree as a program finds it: ``words`` before its command line, ``path`` where /srv of the tree is."""

    path: str
    words: tuple[str, ...] = ()
    pids: list[int] = field(default_factory=list)

    def run(self, *words: str, patience: float = 300) -> str:
        """To its end; what it said."""
        return checked([*self.words, *words], timeout=patience)

    def numbers(self, *words: str) -> list[float]:
        """What files_load said."""
        return [float(word) for word in self.run(str(load_program()), *words).split()]


# --- what is compiled -----------------------------------------------------------------------------------------------


def load_program() -> Path:
    """files_load.c."""
    return peers.compiled("files_load", [HERE / "files_load.c"], [], [peers.TIMED])


def link_program() -> Path:
    """link.c, over the product's own multiplexer."""
    native = sorted((ROOT / "native").glob("*.c"))
    headers = sorted((ROOT / "native").glob("*.h"))
    return peers.compiled("link", [HERE / "link.c", *native], ["-lpthread"], [*headers, peers.TIMED])


def passthrough_program() -> Path:
    """passthrough.c, with Debian's libfuse."""
    flags = checked(["pkg-config", "--cflags", "--libs", "fuse3"]).split()
    return peers.compiled("passthrough", [HERE / "passthrough.c"], flags, [])


def layer(folder: Path) -> Path:
    """The layer's library, its rules in ``folder``."""
    made = folder / "layer.so"
    places = [f'-DRULES_FILE="{folder}/rules"', f'-DUPPER="{folder}/upper"']
    words = [
        "gcc",
        "-std=gnu11",
        "-D_GNU_SOURCE",
        "-O2",
        "-fPIC",
        "-shared",
        "-fvisibility=hidden",
        f"-I{ROOT}",
    ]
    checked([*words, *places, "-o", str(made), *map(str, sorted((ROOT / "layer/preload").glob("*.c")))])
    return made


def static_program() -> Path:
    """files_load.c, linked statically."""
    return peers.compiled("files_load-static", [HERE / "files_load.c"], ["-static"], [peers.TIMED])


def supervised(folder: Path) -> Path:
    """mirror-init's part for programs without a layer, its rules in ``folder``."""
    made = folder / "supervised"
    init = [path for path in sorted((ROOT / "layer/init").glob("*.c")) if path.name != "main.c"]
    decides = [ROOT / "layer/preload" / f"{name}.c" for name in BY_RULES]
    others = [ROOT / "native" / f"{name}.c" for name in ("fault", "span", "msgpack")]
    files = [*init, *decides, *others, ROOT / "tests/net/preload/supervised.c"]
    words = ["musl-gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-static", "-DLAYER_FOR_OTHERS"]
    places = [
        f'-DRULES_FILE="{folder}/rules"',
        f'-DUPPER="{folder}/upper"',
        f"-I{ROOT}",
        f"-I{ROOT / 'native'}",
    ]
    checked([*words, *places, "-o", str(made), *map(str, files)])
    return made


@contextlib.contextmanager
def without_layer() -> Iterator[Given]:
    """The default rules, for a static program that is started and served as mirror-init does it; no door."""
    with tempfile.TemporaryDirectory(prefix="mr-bench-static-") as name:
        program = supervised(Path(name))
        rules = Rules(Mode.READ, Wishes()).packed()
        Path(name, "rules").write_bytes(b"MRFILES1" + struct.pack("=Q", 1) + rules)
        yield Given("/", ("unshare", "--net", str(program)))


def set_up() -> None:
    """What the peers need."""
    missing = sorted(
        {name for command, name in PACKAGES.items() if not any(Path(f).exists() for f in found(command))}
    )
    if not Path("/usr/include/fuse3").exists():
        missing.append("libfuse3-dev")
    if missing:
        peers.install(missing)


def found(command: str) -> list[str]:
    """Where it would be."""
    return [f"{folder}/{command}" for folder in ("/usr/bin", "/usr/sbin")]


# --- the tree -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def tree() -> Iterator[Path]:
    """A root with all that is measured below /srv."""
    with tempfile.TemporaryDirectory(prefix="mr-bench-files-") as name:
        root = Path(name)
        root.chmod(0o755)
        for folder in ("proc", "etc", "srv/small", "srv/many", "srv/beside"):
            (root / folder).mkdir(parents=True)
        srv = root / "srv"
        filled(srv / "large", LARGE)
        for number in range(BESIDE):
            filled(srv / "beside" / str(number), LARGE // BESIDE)
        for number in range(SMALLS):
            (srv / "small" / f"file-{number}").write_bytes(os.urandom(4096))
        for number in range(STATS):
            (srv / "many" / f"file-{number}").touch()
            folder = srv / "tree" / f"folder-{number % FOLDERS}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"file-{number}").touch()
        modules(srv / "python")
        yield root


def filled(path: Path, size: int) -> None:
    """With octets that are no zeroes."""
    piece = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(piece)


def modules(folder: Path) -> None:
    """MODULES modules in packages of 50, compiled, as an image has them."""
    for number in range(MODULES):
        package = folder / f"package_{number // 50}"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        text = f"NAME = {number}\n\n\ndef name() -> int:\n    return NAME\n" * 4
        (package / f"module_{number % 50}.py").write_text(text)
    compileall.compile_dir(str(folder), quiet=1)


# --- who gives it ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def itself(root: Path) -> Iterator[Given]:
    """This machine."""
    yield Given(str(root / "srv"))


@contextlib.contextmanager
def mounted(words: list[str], where: Path) -> Iterator[Given]:
    """A peer that stays in the foreground and mounts on ``where`` in a namespace of its own."""
    private = [*words[: words.index("--") + 1], "unshare", "--mount", "--propagation=private"]
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(
            [*private, *words[words.index("--") + 1 :]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            until = time.monotonic() + 20
            while str(where) not in Path(f"/proc/{process.pid}/mountinfo").read_text():
                if process.poll() is not None or time.monotonic() > until:
                    said = os.pread(output.fileno(), 4000, 0).decode(errors="replace")
                    raise RuntimeError(f"{words}: exit {process.poll()}: {said}")
                time.sleep(0.02)  # another program's mount: nothing tells us
            yield Given(str(where), ("nsenter", f"--mount=/proc/{process.pid}/ns/mnt", "--"), [process.pid])
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


@contextlib.contextmanager
def passthrough(root: Path) -> Iterator[Given]:
    """A FUSE file system in C."""
    with (
        tempfile.TemporaryDirectory(prefix="mr-bench-pass-") as where,
        mounted(["env", "--", str(passthrough_program()), str(root / "srv"), where], Path(where)) as given,
    ):
        yield given


@contextlib.contextmanager
def sshfs(root: Path, host: Space) -> Iterator[Given]:
    """sshfs and sshd as they come, over the loopback of ``host``, with keys of this run."""
    with tempfile.TemporaryDirectory(prefix="mr-bench-ssh-") as name, sshd(Path(name), host):
        where = Path(name, "mounted")
        where.mkdir()
        options = [f"IdentityFile={name}/key", f"UserKnownHostsFile={name}/known", "StrictHostKeyChecking=no"]
        words = [*host.command("sshfs", "-f", "-p", str(SSH_PORT))]
        for option in (*options, "BatchMode=yes", "allow_other"):
            words += ["-o", option]
        with mounted([*words, f"root@{SERVER}:{root}/srv", str(where)], where) as given:
            yield given


@contextlib.contextmanager
def sshd(folder: Path, host: Space) -> Iterator[None]:
    """For root by the key that is made here."""
    for name in ("key", "host"):
        checked(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)])
    Path("/run/sshd").mkdir(exist_ok=True)
    lines = [
        f"ListenAddress {SERVER}",
        f"Port {SSH_PORT}",
        f"HostKey {folder}/host",
        f"AuthorizedKeysFile {folder}/key.pub",
        "PidFile none",
        "UsePAM no",
        "StrictModes no",
        "PermitRootLogin prohibit-password",
        "Subsystem sftp /usr/lib/openssh/sftp-server",
    ]
    (folder / "config").write_text("\n".join(lines) + "\n")
    words = host.command("/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config"))
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_listener(host, SSH_PORT)
            yield
        finally:
            process.terminate()


@dataclass(frozen=True, slots=True)
class Mirrored(Given):
    """The product's."""

    session: product.Session | None = None

    def asked(self) -> int:
        """Requests that have crossed the link."""
        assert self.session is not None
        return told(self.session.bridge)[0]


def told(bridge: subprocess.Popen[str]) -> list[int]:
    """What product_bridge says at SIGUSR1."""
    assert bridge.stdout is not None
    bridge.send_signal(signal.SIGUSR1)
    return [int(word) for word in bridge.stdout.readline().split()]


@contextlib.contextmanager
def mirrored(
    root: Path, host: Space, link: tuple[socket.socket, socket.socket] | None = None
) -> Iterator[Mirrored]:
    """Bridge and agent, a target whose root the tree is, and the layer in whatever is run."""
    target = Target(root, 0)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="mr-bench-layer-") as name,
            product.session(host, APP_ADDRESS, files=target.pid, link=link) as made,
        ):
            library = layer(Path(name))
            rules = Rules(Mode.READ, Wishes(read_only=("^/srv(/|$)",))).packed()
            device = told(made.bridge)[1]
            Path(name, "rules").write_bytes(b"MRFILES1" + struct.pack("=Q", device) + rules)
            # In a folder of the app's own: by these rules this tree is the target's, and find(1) goes back to where it
            # was.
            words = made.app.command("env", "--chdir=/usr", f"LD_PRELOAD={library}")
            yield Mirrored("/srv", tuple(words), [made.bridge.pid, made.agent.pid], made)
    finally:
        target.close()
