"""``make bench``: peers and product, interleaved, in namespaces of its own; a table, and build/bench.json.

    python3 tests/bench/run.py [--out FILE] [--runs 5] [--seconds 2] [--only SECTION ...] [--no-go]
    [--patience 60]

Sections: ways (bulk, round trips, connections, memory), crowd (what 10,000 idle connections cost), mirror (all that is
asked, and what a filter chooses), steal (what a gate costs bystanders, and the way to the app), files (what the
target's files cost), start, pods (a pod as the target, on the cluster of `make cluster`). Each run passes through all
carriers in turn, so that what the machine does meanwhile falls on all of them alike. Needs root.
docs/benchmarks.md has the record and its reading.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
from collections import defaultdict
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import (
    carriers,
    choosing,
    filing,
    machine,
    mirroring,
    peers,
    pods,
    product,
    rows,
    spaces,
    start,
    stealing,
    table,
    whole_port,
)
from tests.bench.table import Figure

SECTIONS = ("ways", "crowd", "mirror", "steal", "files", "start", "pods")
ALONE, AGENT = "stack alone", "through the agent"
HELD = 1000  # connections for the memory rows

Runs = dict[tuple[str, str], list[float]]  # (carrier, figure) to its runs


class Others:
    """How much of the machine others used, over all that was measured."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __str__(self) -> str:
        if not self.seen:
            return "nothing measured"
        return f"median {statistics.median(self.seen):.2f}, most {max(self.seen):.2f} CPUs"


def ways(options: argparse.Namespace, others: Others) -> list[Figure]:
    """Everything that is measured on a way from app to server."""
    who: dict[str, carriers.Carrier] = {"loopback": carriers.loopback, **carriers.PEERS}
    if options.no_go:
        del who["sing-box"]
    who |= {ALONE: product.alone, AGENT: product.through_agent}
    runs: Runs = defaultdict(list)
    with spaces.server_space("mr-bench-host") as host, rows.server(host):
        if (control := spaces.congestion_control(host)) != "reno":
            raise SystemExit(f"the namespaces use {control}, not reno: the figures would be about its pacing")
        for number in range(options.runs):
            for name, carrier in who.items():
                machine.wait_for_idle(options.patience)
                try:
                    one_way(name, carrier, host, options, runs, others)
                except RuntimeError as error:
                    print(f"{name}, run {number + 1}: {error}", file=sys.stderr)
    return way_figures(list(who), runs)


def one_way(
    name: str,
    carrier: carriers.Carrier,
    host: spaces.Space,
    options: argparse.Namespace,
    runs: Runs,
    others: Others,
) -> None:
    """One carrier, once."""
    with carrier(host) as way:
        if name not in ("loopback", ALONE):  # memory first: bulk leaves buffers behind
            keep(name, rows.memory(way, HELD), runs, others)
        for seen in (
            rows.bulk(way, options.seconds),
            rows.round_trip(way, options.round_trips),
            rows.churn(way, options.seconds),
        ):
            keep(name, seen, runs, others)


def keep(name: str, seen: rows.Seen, runs: Runs, others: Others) -> None:
    """Add one run's figures."""
    others.seen.append(seen.others)
    for figure, value in seen.figures.items():
        runs[name, figure].append(value)


def way_figures(who: list[str], runs: Runs) -> list[Figure]:
    """The rows, product against peers."""
    figures: list[Figure] = []

    def median(name: str, figure: str) -> float | None:
        values = runs.get((name, figure))
        return statistics.median(values) if values else None

    def best_of(names: list[str], figure: str, pick: type[max | min] = max) -> tuple[str, float | None]:  # type: ignore[valid-type]
        seen = {name: value for name in names if (value := median(name, figure)) is not None}
        name = max(seen, key=lambda n: seen[n]) if seen else ""
        return name, seen.get(name)

    def add(name: str, figure: str, title: str, unit: str, better: str = "more", **more: object) -> None:
        if values := runs.get((name, figure)):
            figures.append(Figure(f"{title}: {name}", unit, tuple(values), better, **more))  # type: ignore[arg-type]

    tunnels = [name for name in who if name in carriers.PEERS]
    hop = [name for name in tunnels if name != "pasta"]
    for figure, title in (("up", "one stream up"), ("down", "one stream down")):
        for name in who:
            against, baseline = "", None
            reach = ""
            if name == ALONE:
                (against, baseline), reach = best_of(tunnels, figure), ">= 1"
            elif name == AGENT:
                (against, baseline), reach = best_of(hop, figure), ">= 1"
            add(name, figure, title, "Gbit/s", against=against, baseline=baseline, reach=reach)
        for name in who:
            add(name, f"{figure} CPU", f"{title}, CPU of the carrier", "s/GB", "less")
    for figure, title, limit in (("p50", "round trip p50", "<= 1.5"), ("p99", "round trip p99", "<= 2")):
        for name in who:
            ours = name == AGENT and median("slirp4netns", figure) is not None
            more: dict[str, object] = (
                {"against": "slirp4netns", "baseline": median("slirp4netns", figure), "reach": limit}
                if ours
                else {}
            )
            add(name, figure, title, "µs", "less", **more)
    for name in who:
        aim: dict[str, object] = (
            {"against": "aim", "baseline": 3500.0, "reach": ">= 1"} if name == AGENT else {}
        )
        add(name, "churn", "connect, request, close", "1/s", **aim)
    for name in who:
        add(name, "idle", "resident memory, idle", "MB", "less")
        add(name, "held", f"resident memory, {HELD} connections held", "MB", "less")
    return figures


CROWDS = (1, 100, 1000, 10_000)


def crowd(options: argparse.Namespace, others: Others) -> list[Figure]:
    """Whether a packet costs more the more connections there are: round trips beside 1, 100, 1,000 and 10,000
    idle ones.
    """
    runs: Runs = defaultdict(list)
    with spaces.server_space("mr-bench-host") as host, rows.server(host):
        for number in range(options.runs):
            for count in CROWDS:
                machine.wait_for_idle(options.patience)
                try:
                    with product.through_agent(host) as way:
                        keep(f"{count:,}", rows.crowd(way, count, options.round_trips), runs, others)
                except RuntimeError as error:
                    print(f"crowd of {count}, run {number + 1}: {error}", file=sys.stderr)
    few = f"{CROWDS[0]:,}"
    figures = []
    for figure, title, unit in (
        ("p50", "round trip p50", "µs"),
        ("p99", "round trip p99", "µs"),
        ("CPU", "CPU of a round trip", "µs"),
        ("held", "resident memory", "MB"),
    ):
        for count in CROWDS:
            if not (values := runs.get((f"{count:,}", figure))):
                continue
            alone = runs.get((few, figure)) if figure != "held" and count != CROWDS[0] else None
            figures.append(
                Figure(
                    f"{title} beside {count:,} idle connections",
                    unit,
                    tuple(values),
                    "less",
                    "beside 1" if alone else "",
                    statistics.median(alone) if alone else None,
                    "<= 1.25" if alone and figure != "p99" else "",
                )
            )
    return figures


def mirror(options: argparse.Namespace, others: Others) -> list[Figure]:
    """Requests copied without loss, what the target's clients feel of it, and a bulk upload."""
    copied: Runs = defaultdict(list)
    p99: Runs = defaultdict(list)
    kinds = {"without": mirroring.unmirrored, "mirror-run": mirroring.mirrored}
    if not options.no_go:
        kinds["goreplay"] = mirroring.replayed
    for rate in options.rates:
        for number in range(options.runs):
            for name, kind in kinds.items():
                machine.wait_for_idle(options.patience)
                meanwhile = machine.Others()
                try:
                    seen = kind(rate, options.seconds)
                except RuntimeError as error:
                    print(f"mirror, {name}, {rate:.0f}/s, run {number + 1}: {error}", file=sys.stderr)
                    continue
                others.seen.append(meanwhile.used())
                copied[name, str(rate)].append(100 * seen.share)
                p99[name, str(rate)].append(seen.p99)
                if seen.failed:
                    print(
                        f"mirror, {name}, {rate:.0f}/s: {seen.failed} of {seen.sent} requests of clients failed"
                    )
    figures = []
    for (name, rate), values in copied.items():
        aim: dict[str, object] = (
            {"against": "all", "baseline": 100.0, "reach": ">= 1"} if name == "mirror-run" else {}
        )
        if name != "without":
            title = f"requests copied at {float(rate):,.0f}/s: {name}"
            figures.append(Figure(title, "%", tuple(values), **aim))  # type: ignore[arg-type]
    for (name, rate), values in p99.items():
        title = f"target's p99 at {float(rate):,.0f}/s: {name}"
        alone = p99.get(("without", rate))
        if name == "without" or not alone:
            figures.append(Figure(title, "µs", tuple(values), "less"))
        else:
            reach = "<= 1.05" if name == "mirror-run" else ""
            figures.append(
                Figure(title, "µs", tuple(values), "less", "without", statistics.median(alone), reach)
            )
    shares, rates = [], []
    for _ in range(options.runs):
        machine.wait_for_idle(options.patience)
        try:
            rate, share = mirroring.bulk(options.gbit, options.seconds)
        except RuntimeError as error:
            print(f"mirrored upload: {error}", file=sys.stderr)
            continue
        rates.append(rate)
        shares.append(100 * share)
    if rates:
        title = "mirrored upload"
        figures.append(Figure(f"{title}, rate", "Gbit/s", tuple(rates), "more", "aim", 1.0, ">= 1"))
        figures.append(
            Figure(f"{title}, share the app has", "%", tuple(shares), "more", "all", 100.0, ">= 1")
        )
    return figures


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Figures of mirror-run and its peers.")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--record", type=Path, help="a page with the marks of a record: docs/benchmarks.md")
    parser.add_argument("--runs", type=int, default=5, help="passes through all carriers (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each bulk, churn and mirror run (2)")
    parser.add_argument("--round-trips", type=int, default=20_000)
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[5_000.0, 20_000.0], help="requests per second mirrored"
    )
    parser.add_argument("--gbit", type=float, default=1.05, help="rate of the mirrored upload")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument(
        "--no-go", action="store_true", help="leave out sing-box and goreplay, which take minutes to build"
    )
    parser.add_argument(
        "--patience", type=float, default=60.0, help="seconds to wait for an idle machine before each run"
    )
    return parser.parse_args()


def main() -> None:
    """Set up, measure, print, write."""
    options = parsed()
    if os.geteuid() != 0:
        raise SystemExit("network namespaces need root")
    # As at Ctrl-C: what was made and installed is undone. Seen: agents left in the cluster by a time limit.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("ended before the figures were complete"))
    if stale := spaces.left_over("mr-bench-"):
        for name in stale:
            spaces.checked(["ip", "netns", "del", name])
        print(f"removed what an earlier run left: {', '.join(stale)}")
    versions = peers.set_up(with_go=not options.no_go)
    conditions = [
        f"Machine: {machine.described()}.",
        f"Peers: {', '.join(f'{name} {version}' for name, version in versions.items())}.",
        f"MTU {spaces.MTU}, reno; {options.runs} runs of {options.seconds:g} s each, carriers interleaved.",
    ]
    print("\n".join(conditions), flush=True)
    others, figures = Others(), []
    sections = {
        "ways": (ways,),
        "crowd": (crowd,),
        "mirror": (mirror, choosing.figures),
        "steal": (stealing.figures, whole_port.figures),
        "files": (filing.figures,),
        "start": (start.figures,),
        "pods": (pods.figures,),
    }
    try:
        for section in SECTIONS:
            if section in options.only:
                for part in sections[section]:
                    figures += part(options, others)
    finally:  # what was measured before a part failed is worth having
        conditions.append(f"Used by others while measuring: {others}.")
        text = "\n".join([*conditions, "", *table.lines(figures)])
        print("\n".join(text.splitlines()[3:]))
        table.write(options.out, figures)
        if options.record:
            page = options.record.read_text(encoding="utf-8")
            options.record.write_text(table.record(page, text), encoding="utf-8")


if __name__ == "__main__":
    main()
