"""What the target's files cost a program: beside this machine's own, a pass-through FUSE, and sshfs over loopback.

    cat, stat, find, import ── layer ── door ── FUSE ── bridge ═link═ agent ── the tree      the product's way
    the same                ── FUSE ── passthrough ── the tree                               a peer's
    the same                ── FUSE ── sshfs ── ssh ═loopback═ sshd ── sftp-server ── the tree

The rows of a longer way have a relay in the link that holds each octet back.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.bench import files_stage, machine
from tests.bench.files_stage import LARGE, SMALLS, STATS, Given, Mirrored
from tests.bench.rows import PORT, load, server
from tests.bench.spaces import SERVER, Space, server_space
from tests.bench.table import Figure
from tests.net.resume.way import Leg

OURS, ITSELF, PASS, SSHFS, LINK = "mirror-run", "this machine", "pass-through FUSE", "sshfs", "link"
NEAR, FAR = 0.005, 0.025  # seconds added to each direction
PULLED = 1.0  # seconds of a bare link's bulk
TRIPS = 10_000
OWN_PATH = "/usr/lib/x86_64-linux-gnu/libc.so.6"
WINDOW = 8 * 1024 * 1024  # native/mux.h: MUX_WINDOW

IMPORT = """
import importlib, sys, time
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
began = time.monotonic()
for number in range(int(sys.argv[2])):
    importlib.import_module(f"package_{number // 50}.module_{number % 50}")
print(time.monotonic() - began)
"""

Runs = dict[tuple[str, str], list[float]]


def figures(options: argparse.Namespace, others: object) -> list[Figure]:
    """All rows. What others used meanwhile is told to ``others``."""
    files_stage.set_up()
    seen: list[float] = getattr(others, "seen", [])
    runs: Runs = defaultdict(list)
    with files_stage.tree() as root, server_space("mr-bench-host") as host, server(host):
        for number in range(options.runs):
            for measure in (own, static, passing, through_ssh, ours, nearer, farther):
                machine.wait_for_idle(options.patience)
                meanwhile = machine.Others()
                try:
                    measure(root, host, runs)
                except RuntimeError as error:
                    print(f"files, {measure.__name__}, run {number + 1}: {error}")
                seen.append(meanwhile.used())
    return table(runs)


# --- who is measured ------------------------------------------------------------------------------------------------


def own(root: Path, _host: Space, runs: Runs) -> None:
    """This machine, and the link with nothing at its ends."""
    with files_stage.itself(root) as given:
        read(given, ITSELF, runs)
        calls(given, ITSELF, runs)
        many(given, ITSELF, runs)
    runs[LINK, "pulled"].append(bare(0, "pull", str(PULLED))[0] / 1e6)
    with machine.awake():
        runs[LINK, "trip"].append(bare(0, "trips", str(TRIPS))[0])


def static(_root: Path, _host: Space, runs: Runs) -> None:
    """A call of a program without a layer that is not about the target: it is asked about, and left to the kernel."""
    words = (str(files_stage.static_program()), "wall", OWN_PATH, "20000")
    with files_stage.without_layer() as given:
        for name, one in ((ITSELF, Given("/")), (OURS, given)):
            runs[name, "own, static"].append(float(one.run(*words)))


def passing(root: Path, _host: Space, runs: Runs) -> None:
    with files_stage.passthrough(root) as given:
        read(given, PASS, runs)


def through_ssh(root: Path, host: Space, runs: Runs) -> None:
    with files_stage.sshfs(root, host) as given:
        many(given, SSHFS, runs)


def ours(root: Path, host: Space, runs: Runs) -> None:
    """Each with nothing known yet of what it reads, and then packets beside it."""
    with files_stage.mirrored(root, host) as given:
        read(given, OURS, runs)
        calls(given, OURS, runs)
        small(given, runs, "small", SMALLS)
        many(given, OURS, runs)
        beside(root, given, runs)


def nearer(root: Path, host: Space, runs: Runs) -> None:
    """A link of 10 ms: what is asked one after another shows."""
    runs[LINK, "near trip"].append(bare(NEAR, "trips", "50")[0])
    with way(NEAR) as link, files_stage.mirrored(root, host, link) as given:
        small(given, runs, "near small", 50)


def farther(root: Path, host: Space, runs: Runs) -> None:
    """A link of 50 ms: what is not asked ahead shows."""
    runs[LINK, "far pulled"].append(bare(FAR, "pull", "3")[0] / 1e6)
    with way(FAR) as link, files_stage.mirrored(root, host, link) as given:
        took = given.numbers("read", f"{given.path}/large", "1")
        runs[OURS, "far"].append(LARGE / took[0] / 1e6)


# --- what is measured -----------------------------------------------------------------------------------------------


def read(given: Given, name: str, runs: Runs) -> None:
    first, second = given.numbers("read", f"{given.path}/large", "2")
    runs[name, "first"].append(LARGE / first / 1e6)
    runs[name, "second"].append(LARGE / second / 1e6)


def calls(given: Given, name: str, runs: Runs) -> None:
    """What a call costs that is not about the target, by the default rules; and a stream's octets one by one."""
    runs[name, "own"] += given.numbers("own", OWN_PATH, "100000")
    runs[name, "getc"] += given.numbers("getc", f"{given.path}/large", str(1 << 20))


def small(given: Mirrored, runs: Runs, figure: str, count: int) -> None:
    """Each file once: µs in the median, and the requests that cross the link for one."""
    before = given.asked()
    with machine.awake():
        p50, _ = given.numbers("small", f"{given.path}/small", str(count))
    runs[OURS, figure].append(p50)
    runs[OURS, f"{figure} asked"].append((given.asked() - before) / count)


def many(given: Given, name: str, runs: Runs) -> None:
    """Seconds of what asks for much of little."""
    runs[name, "stat"] += given.numbers("stat", f"{given.path}/many", str(STATS))
    began = time.monotonic()
    given.run("find", f"{given.path}/tree", "-type", "f", "-newermt", "2000-01-01", "-printf", "")
    runs[name, "find"].append(time.monotonic() - began)
    words = ["python3", "-I", "-c", IMPORT, f"{given.path}/python", str(files_stage.MODULES)]
    runs[name, "import"].append(float(given.run(*words)))


def beside(root: Path, given: Mirrored, runs: Runs) -> None:
    """Round trips through the tunnel without and with files that are read at full speed; and beside as many readers of
    this machine's own files, which is what the scheduler makes of them. Who reads gives way to whoever else can run
    (nice 19): measured is what the files' way costs the packets', not what a program costs that does nothing but read.
    """
    assert given.session is not None
    app = given.session.app
    with machine.awake():
        runs[OURS, "p99 without"].append(load(app, "rtt", SERVER, str(PORT), str(TRIPS))[1])
        for name, tree in ((ITSELF, Given(str(root / "srv"))), (OURS, given)):
            with reading(tree) as rate:
                runs[name, "p99 beside"].append(load(app, "rtt", SERVER, str(PORT), str(TRIPS))[1])
            runs[name, "beside"] += rate


@contextlib.contextmanager
def reading(given: Given) -> Iterator[list[float]]:
    """Files are read meanwhile; then holds the MB/s."""
    paths = [f"{given.path}/beside/{number}" for number in range(files_stage.BESIDE)]
    words = [*given.words, "nice", "-n", "19", str(files_stage.load_program()), "beside", *paths]
    rate: list[float] = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as readers:
        yield rate
        readers.terminate()
        said = readers.communicate()[0].split()  # nothing where it was ended before it had begun
    seconds, octets = map(float, said or ("0", "0"))
    if not octets:
        raise RuntimeError("nothing was read beside the packets")
    rate.append(octets / seconds / 1e6)


@contextlib.contextmanager
def way(delay: float) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a link that takes ``delay`` seconds each way."""
    leg = Leg(delay)
    try:
        yield leg.ends[0], leg.ends[1]
    finally:
        for end in leg.ends:
            end.close()
        leg.cut()


def bare(delay: float, *words: str) -> list[float]:
    """What link.c says of a link of its own."""
    program = str(files_stage.link_program())
    with contextlib.ExitStack() as stack:
        near, far = stack.enter_context(way(delay)) if delay else socket.socketpair()
        keep = ["keep"] if delay else []
        with subprocess.Popen(
            [program, "serve", str(far.fileno()), *keep], pass_fds=(far.fileno(),)
        ) as serving:
            far.close()
            command = [program, words[0], str(near.fileno()), *words[1:], *keep]
            done = subprocess.run(
                command, pass_fds=(near.fileno(),), capture_output=True, text=True, timeout=60, check=False
            )
            near.close()
            serving.wait(20)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} of a bare link: {done.stderr.strip()}")
    return [float(word) for word in done.stdout.split()]


# --- rows -----------------------------------------------------------------------------------------------------------


def table(runs: Runs) -> list[Figure]:
    """Those that could be measured."""
    made: list[Figure] = []

    def median(name: str, figure: str) -> float | None:
        values = runs.get((name, figure))
        return statistics.median(values) if values else None

    def add(name: str, figure: str, title: str, unit: str, better: str = "more", **aim: object) -> None:
        if values := runs.get((name, figure)):
            made.append(Figure(f"{title}: {name}", unit, tuple(values), better, **aim))  # type: ignore[arg-type]

    title = "files, 1 GiB in order"
    add(LINK, "pulled", "files, what the link carries", "MB/s")
    add(PASS, "first", title, "MB/s")
    ceilings = {
        name: value for name, figure in ((LINK, "pulled"), (PASS, "first")) if (value := median(name, figure))
    }
    least = min(ceilings, key=lambda name: ceilings[name], default="")
    add(OURS, "first", title, "MB/s", against=least, baseline=ceilings.get(least), reach=">= 0.9")
    for name in (ITSELF, PASS):
        add(name, "second", f"{title}, again", "MB/s")
    add(
        OURS,
        "second",
        f"{title}, again",
        "MB/s",
        against=ITSELF,
        baseline=median(ITSELF, "second"),
        reach=">= 0.8",
    )
    optimum = min(filter(None, (median(LINK, "far pulled"), WINDOW / (2 * FAR) / 1e6)))
    add(LINK, "far pulled", "files, what a link of 50 ms carries", "MB/s")
    add(OURS, "far", f"{title}, 50 ms", "MB/s", against="optimum", baseline=optimum, reach=">= 0.8")
    for figure, trip, distance in (("small", "trip", ""), ("near small", "near trip", ", 10 ms")):
        title = f"files, open, read, close of 4 KB{distance}"
        add(LINK, trip, f"files, round trip{distance}", "µs", "less")
        add(OURS, figure, title, "µs", "less")
        least_trip = median(LINK, trip) or 0.0
        runs[OURS, "beyond"] = [value - least_trip for value in runs.get((OURS, figure), [])]
        add(
            OURS,
            "beyond",
            f"{title}, beyond the trip",
            "µs",
            "less",
            against="aim",
            baseline=100.0,
            reach="<= 1",
        )
        add(OURS, f"{figure} asked", f"{title}, requests", "", "less", against="one, and its close", baseline=2.0,
            reach="<= 1")  # fmt: skip
    for figure, title in (
        ("stat", f"files, stat of {STATS:,}"),
        ("find", f"files, find among {STATS:,}"),
        ("import", f"files, import of {files_stage.MODULES:,} modules"),
    ):
        for name in (ITSELF, SSHFS):
            add(name, figure, title, "s", "less")
        add(OURS, figure, title, "s", "less", against=SSHFS, baseline=median(SSHFS, figure), reach="<= 1.3")
    runs[OURS, "own more"] = [one - (median(ITSELF, "own") or 0.0) for one in runs.get((OURS, "own"), [])]
    title = "files, stat of the container's own"
    add(ITSELF, "own", title, "ns", "less")
    add(OURS, "own", title, "ns", "less")
    add(OURS, "own more", f"{title}, more than without the layer", "ns", "less", against="aim", baseline=100.0,
        reach="<= 1")  # fmt: skip
    title = "files, stat of the container's own by a static program"
    add(ITSELF, "own, static", title, "ns", "less")
    add(OURS, "own, static", title, "ns", "less")
    title = "files, getc of 1 MiB"
    add(ITSELF, "getc", title, "s", "less")
    add(OURS, "getc", title, "s", "less", against=ITSELF, baseline=median(ITSELF, "getc"), reach="<= 2")
    add(OURS, "p99 without", "files, a packet's p99 with none read", "µs", "less")
    without = median(OURS, "p99 without")
    title = "files, a packet's p99 while 8 are read"
    add(ITSELF, "p99 beside", title, "µs", "less")
    add(OURS, "p99 beside", title, "µs", "less", against="without", baseline=without, reach="<= 2")
    for name in (ITSELF, OURS):
        add(name, "beside", "files, 8 that are read at once", "MB/s")
    return made
