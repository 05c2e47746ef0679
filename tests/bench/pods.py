"""A pod as the target: what is left of a port-forward's rate and round trip, what a longer way costs, how long a start
takes, and what an agent uses, idle and with many sessions.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import time
import uuid
from collections import defaultdict
from pathlib import Path

from tests.bench import machine, pod_stage, start
from tests.bench.pod_stage import ONE_WAY, SINK, SOURCE, App, Stage, app, carried, forwarded, relayed, settle
from tests.bench.rows import PORT
from tests.bench.table import Figure

OURS, KUBECTL = "mirror-run", "kubectl port-forward"
LONGER = 4.0
"""Seconds of a bulk run over the longer way at least: the windows open in round trips."""

TRIPS = 2000
FAR_TRIPS = 20
SESSIONS = 20
WATCHED = 20.0
"""Seconds for which an idle agent is watched."""

TOGETHER = 6.0
"""Seconds for which all sessions load at once, and are counted."""
HEAD_START = 3.0
"""Seconds until they begin: each has its connection by then, or the run is refused (load.c)."""
ROUNDS = 3

Runs = dict[tuple[str, str], list[float]]


def figures(options: argparse.Namespace, others: object) -> list[Figure]:
    """All rows. Whatever others used meanwhile is told to ``others``."""
    seen: list[float] = getattr(others, "seen", [])
    with pod_stage.staged() as stage:
        meanwhile = machine.Others()
        made = idle(stage)
        seen.append(meanwhile.used())
        made += ways(stage, options)
        made += longer(stage, options)
        made += starts(stage, options)
        return made + crowd(stage)


# --- rates and round trips --------------------------------------------------------------------------------------------


def ways(stage: Stage, options: argparse.Namespace) -> list[Figure]:
    """One stream each way and single octets there and back, by kubectl and by us in turn."""
    runs: Runs = defaultdict(list)
    with app(stage) as ours, forwarded(stage) as ports:
        for _ in range(options.runs):
            machine.wait_for_idle(options.patience)
            for row, mode, port in (("up", "push", SINK), ("down", "pull", SOURCE)):
                settle()
                rate = carried(ports[port], mode, options.seconds)[0]
                runs[row, KUBECTL].append(rate * 1000 / 8)
                settle()
                rate = ours.load(mode, stage.server, port, options.seconds)[0]
                runs[row, OURS].append(rate * 1000 / 8)
            settle()
            with machine.awake():
                theirs = carried(ports[PORT], "rtt", TRIPS)[0]
                p50 = ours.load("rtt", stage.server, PORT, TRIPS)[0]
            runs["trip", KUBECTL].append(theirs)
            runs["trip", OURS].append(p50)
            runs["added", OURS].append(max(p50 - theirs, 0))
    made = []
    for row in ("up", "down"):
        title = f"pod: one stream {row}"
        plain = tuple(runs[row, KUBECTL])
        made.append(Figure(f"{title}: {KUBECTL}", "MB/s", plain))
        baseline = statistics.median(plain)
        made.append(
            Figure(f"{title}: {OURS}", "MB/s", tuple(runs[row, OURS]), "more", KUBECTL, baseline, ">= 0.9")
        )
    made += [
        Figure(f"pod: round trip p50: {who}", "µs", tuple(runs["trip", who]), "less")
        for who in (KUBECTL, OURS)
    ]
    added = tuple(runs["added", OURS])
    return [*made, Figure("pod: round trip p50, added", "µs", added, "less", "aim", 150.0, "<= 1")]


def longer(stage: Stage, options: argparse.Namespace) -> list[Figure]:
    """The same streams with the API server 50 ms of round trip farther away.

    The optimum is what the way carries without the delay, or a window for each round trip, whichever is less. Both are
    measured in turn and by the same relay, whose own work would else be taken for the delay's.
    """
    runs: Runs = defaultdict(list)
    seconds = max(options.seconds, LONGER)
    with (
        relayed(stage, ONE_WAY) as slow,
        relayed(stage, 0) as quick,
        app(stage, slow) as far,
        app(stage, quick) as near,
    ):
        for _ in range(options.runs):
            machine.wait_for_idle(options.patience)
            settle()
            runs["trip", "far"].append(far.load("rtt", stage.server, PORT, FAR_TRIPS)[0])
            for row, mode, port in (("up", "push", SINK), ("down", "pull", SOURCE)):
                for who, one in (("near", near), ("far", far)):
                    settle()
                    runs[row, who].append(one.load(mode, stage.server, port, seconds)[0] * 1000 / 8)
    trip = statistics.median(runs["trip", "far"])
    most = window() / trip  # octets a µs, which are MB/s
    made = [
        Figure(
            "pod: round trip p50, 50 ms farther",
            "ms",
            tuple(one / 1000 for one in runs["trip", "far"]),
            "less",
        ),
        Figure("pod: a window for each such round trip", "MB/s", (most,)),
    ]
    for row in ("up", "down"):
        title = f"pod: one stream {row}"
        near_by = tuple(runs[row, "near"])
        made.append(Figure(f"{title}, relayed without delay", "MB/s", near_by))
        optimum = min(statistics.median(near_by), most)
        runs_far = tuple(runs[row, "far"])
        made.append(Figure(f"{title}, 50 ms farther", "MB/s", runs_far, "more", "optimum", optimum, ">= 0.8"))
    return made


def window() -> int:
    """Octets of one channel that may be on the way on a link that is kept."""
    header = (start.ROOT / "native/mux.h").read_text()
    found = re.search(r"#define MUX_WINDOW +\((\d+) \* 1024 \* 1024\)", header)
    assert found is not None, "native/mux.h no longer says MUX_WINDOW in MiB"
    return int(found[1]) * 1024 * 1024


# --- starts -----------------------------------------------------------------------------------------------------------


def starts(stage: Stage, options: argparse.Namespace) -> list[Figure]:
    """Seconds to the command's first line, with installed agents and with one made for the session."""
    environment = start.installed(stage.kubectl.environment())
    target = ["-q", "-n", stage.namespace, "--target", "deploy/cart"]
    image = ["--agent", "job", "--agent-namespace", stage.namespace, "--agent-image", stage.agent]
    installed = [start.MIRROR_RUN, *target, "--agent", "daemonset", "--", "echo", "first"]
    made = [start.MIRROR_RUN, *target, *image, "--", "echo", "first"]
    took: dict[str, list[float]] = defaultdict(list)
    with start.target() as (container, _):
        docker = [start.MIRROR_RUN, "-q", "--target", f"container/{container.name}", "--", "echo", "first"]
        for words in (docker, installed, made):  # once cold
            start.first_line(words, environment)
        for _ in range(options.runs):
            machine.wait_for_idle(options.patience)
            took["docker"].append(start.first_line(docker, environment))
            took["daemonset"].append(start.first_line(installed, environment))
            took["pod"].append(pod_start(stage))
            took["job"].append(start.first_line(made, environment))
    beyond = tuple(job - statistics.median(took["pod"]) for job in took["job"])
    in_docker = statistics.median(took["docker"])
    daemonset = tuple(took["daemonset"])
    return [
        Figure("container: warm start", "s", tuple(took["docker"]), "less"),
        Figure("pod, daemonset: warm start", "s", daemonset, "less", "aim", 2.0, "<= 1"),
        Figure(
            "pod, daemonset: warm start by Docker's", "s", daemonset, "less", "container", in_docker, "<= 2"
        ),
        Figure("a pod's start, by kubectl", "s", tuple(took["pod"]), "less"),
        Figure("pod, job: warm start", "s", tuple(took["job"]), "less"),
        Figure("pod, job: warm start beyond a pod's", "s", beyond, "less", "aim", 2.0, "<= 1"),
    ]


def pod_start(stage: Stage) -> float:
    """Seconds from the creation of a pod of the agent's image until it runs, as kubectl sees it."""
    name = f"plain-{uuid.uuid4().hex[:6]}"
    began = time.monotonic()
    words = [
        "run",
        name,
        f"--image={stage.agent}",
        "--image-pull-policy=Never",
        "--restart=Never",
        "--command",
    ]
    stage.kubectl("-n", stage.namespace, *words, "--", "sleep", "60")
    stage.kubectl("-n", stage.namespace, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    took = time.monotonic() - began
    stage.kubectl("-n", stage.namespace, "delete", "pod", name, "--grace-period=1", "--wait=false")
    return took


# --- agents -----------------------------------------------------------------------------------------------------------


def agents() -> list[int]:
    """The pids of installed agents, as this machine counts them: one a node."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"agent.main" in words and b"--cluster" in words:
                found.append(int(folder.name))
    return found


def idle(stage: Stage) -> list[Figure]:
    """An installed agent that nobody uses: memory, and CPU over WATCHED seconds."""
    pids = agents()
    before, began = machine.cpu_seconds(pids), time.monotonic()
    time.sleep(WATCHED)
    used = (machine.cpu_seconds(pids) - before) / (time.monotonic() - began) / len(pids) * 100
    resident = tuple(machine.rss_mb([pid]) for pid in pids)
    return [
        Figure("pod: installed agent, resident, idle", "MB", resident, "less", "aim", 30.0, "<= 1"),
        Figure("pod: installed agent, idle, of a CPU", "%", (used,), "less", "aim", 0.5, "<= 1"),
    ]


def crowd(stage: Stage) -> list[Figure]:
    """SESSIONS sessions on one agent: what it keeps for each, and how even their shares are when all load at once."""
    before = {pid: machine.rss_mb([pid]) for pid in agents()}
    with contextlib.ExitStack() as undo:
        apps = [App(stage) for _ in range(SESSIONS)]
        for one in apps:
            undo.callback(one.close)
        for one in apps:
            one.ready()
        grown = max(machine.rss_mb([pid]) - before[pid] for pid in before) / SESSIONS
        rounds = [together(apps, stage) for _ in range(ROUNDS)]
    title = f"pod: {SESSIONS} sessions on one agent"
    fair = statistics.median(statistics.mean(rates) for rates in rounds)
    least = tuple(min(rates) / statistics.mean(rates) * fair for rates in rounds)
    return [
        Figure(f"{title}: memory for each", "MB", (grown,), "less", "aim", 5.0, "<= 1"),
        Figure(f"{title}: together", "MB/s", tuple(sum(rates) for rates in rounds)),
        Figure(f"{title}: the least share", "MB/s", least, "more", "fair", fair, ">= 0.8"),
    ]


def together(apps: list[App], stage: Stage) -> list[float]:
    """What each carries, MB/s, all of them over the same seconds."""
    settle()
    at = time.monotonic() + HEAD_START
    for one in apps:
        one.tell("pull", stage.server, SOURCE, TOGETHER, at)
    return [one.numbers()[0] * 1000 / 8 for one in apps]
