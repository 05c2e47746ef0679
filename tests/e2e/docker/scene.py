"""The stage of the end-to-end tests: one network with target, peer and client, and mirror-run as one starts it.

Everything is labelled with `LABEL`, so that what a test left behind can be told from what others run on this engine.
"""

from __future__ import annotations

import hashlib
import io
import json
import queue
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

LABEL = "mirror-run.dev/test"
ROLE, TARGET = "mirror-run.dev/role", "mirror-run.dev/target"
ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = ROOT / "tests/e2e/image"
MIRROR_RUN = Path(sys.executable).with_name("mirror-run")
PATIENCE = 60.0  # seconds: how long a test waits for an event before it calls it missing


def image_context() -> tuple[bytes, str]:
    """The build context of the programs' image as a tar, and a tag made of its content."""
    body, digest = io.BytesIO(), hashlib.sha256()
    with tarfile.open(fileobj=body, mode="w") as tar:
        for path in sorted(PROGRAMS.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = str(path.relative_to(PROGRAMS))
                digest.update(name.encode() + b"\0" + path.read_bytes())
                tar.add(path, arcname=name)
    return body.getvalue(), digest.hexdigest()[:16]


def ensure_image(client: docker.DockerClient, base: str) -> str:
    """The image of the programs, built on `base` if this engine does not have it yet; its reference."""
    context, tag = image_context()
    reference = f"mirror-run-test/programs:{tag}-{hashlib.sha256(base.encode()).hexdigest()[:8]}"
    if client.images.list(name=reference):
        return reference
    said: list[str] = []
    for step in client.api.build(
        fileobj=io.BytesIO(context),
        custom_context=True,
        tag=reference,
        rm=True,
        forcerm=True,
        buildargs={"BASE": base},
        decode=True,
        labels={LABEL: "image"},
    ):
        said.append(str(step.get("stream") or step.get("error") or ""))
        if "error" in step:
            raise RuntimeError("building the programs' image failed:\n" + "".join(said[-60:]))
    return reference


class Lines:
    """The lines of a stream as they come, kept, and waited for."""

    def __init__(self, stream: Any) -> None:
        self.seen: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._stream = stream
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            self.seen.append(line)
            self._queue.put(line)
        self._queue.put(None)

    def wait(self, wanted: Callable[[str], bool], what: str, patience: float = PATIENCE) -> str:
        """The next line that is `wanted`. Lines before it are passed over (they stay in `seen`)."""
        deadline = time.monotonic() + patience
        while True:
            try:
                line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(
                    f"{what}: nothing for {patience:g} s; seen:\n" + "".join(self.seen[-40:])
                ) from None
            if line is None:
                raise AssertionError(f"{what}: the stream ended; seen:\n" + "".join(self.seen[-40:]))
            if wanted(line):
                return line

    def skip(self) -> None:
        """What has come until now is not waited for any more."""
        while not self._queue.empty():
            self._queue.get()

    def rest(self) -> None:
        """Reads until the stream ends, and closes it."""
        self._thread.join(PATIENCE)
        self._stream.close()


@dataclass
class Run:
    """One mirror-run, started as a person starts it, its streams read."""

    process: subprocess.Popen[str]
    out: Lines
    err: Lines

    def event(self, patience: float = PATIENCE, **wanted: object) -> dict[str, Any]:
        """The recorder's next JSON line that has all of `wanted` (a value None: the key is there)."""

        def fits(line: str) -> bool:
            if not line.startswith("{"):
                return False
            said = json.loads(line)
            return all(key in said and (value is None or said[key] == value) for key, value in wanted.items())

        try:
            found: dict[str, Any] = json.loads(self.out.wait(fits, f"app's event {wanted}", patience))
        except AssertionError as error:
            raise AssertionError(f"{error}\nstderr:\n{''.join(self.err.seen[-60:])}") from None
        return found

    def said(self, text: str, patience: float = PATIENCE) -> str:
        return self.err.wait(lambda line: text in line, f"{text!r} on stderr", patience)

    def said_all(self, *texts: str, patience: float = PATIENCE) -> None:
        """All of these, in any order."""
        left = set(texts)

        def last(line: str) -> bool:
            left.difference_update([text for text in left if text in line])
            return not left

        self.err.wait(last, f"{texts} on stderr", patience)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signals the runner and waits for its end; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(PATIENCE)
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.out.rest()
        self.err.rest()
        return code


@dataclass
class Scene:
    """A network with a target, a peer and a client; and what was started on it, to be ended with it."""

    client: docker.DockerClient
    image: str
    name: str
    network: Any
    prefix: str
    """The first three octets of the network's IPv4 addresses."""
    runs: list[Run] = field(default_factory=list)
    made: list[Container] = field(default_factory=list)

    def container(self, role: str, command: list[str], **options: Any) -> Container:
        """A container of the programs' image on this scene's network, its name resolvable as `role`."""
        made: Container = self.client.containers.create(
            self.image,
            command,
            name=f"{self.name}-{role}",
            hostname=role,
            labels={LABEL: self.name},
            network=self.network.name,
            init=True,
            **options,
        )
        self.network.disconnect(made)
        self.network.connect(made, aliases=[role])
        self.made.append(made)
        made.start()
        return made

    def remove(self, made: Container) -> None:
        made.remove(force=True, v=True)
        self.made.remove(made)

    def address(self, made: Container, family: int = 4) -> str:
        made.reload()
        found = made.attrs["NetworkSettings"]["Networks"][self.network.name]
        return str(found["IPAddress" if family == 4 else "GlobalIPv6Address"])

    def addresses(self, made: Container) -> tuple[str, str]:
        """Of both families: who asks by name may come from either."""
        return self.address(made), self.address(made, 6)

    def inside(self, made: Container, *command: str, check: bool = True) -> str:
        """Runs a command in a container; its output. `check`: it must succeed."""
        done = made.exec_run(list(command))
        text = b"".join([done.output] if isinstance(done.output, bytes) else done.output).decode(
            errors="replace"
        )
        assert not check or done.exit_code == 0, f"{command} in {made.name}: {done.exit_code}\n{text}"
        return text

    def wait_inside(self, made: Container, *command: str) -> None:
        """Waits until a command succeeds in a container (for a server to accept: there is no other event for that)."""
        deadline = time.monotonic() + PATIENCE
        while (done := made.exec_run(list(command))).exit_code != 0:
            assert time.monotonic() < deadline, f"{command} in {made.name} never succeeded: {done.output!r}"

    def start(
        self,
        target: Container | str,
        *command: str,
        options: tuple[str, ...] = (),
        stdin: Any = subprocess.DEVNULL,
        **popen: Any,
    ) -> Run:
        """mirror-run --target container/NAME OPTIONS -- COMMAND."""
        named = target if isinstance(target, str) else f"container/{target.name}"
        process = subprocess.Popen(
            [str(MIRROR_RUN), "--log-level", "debug", "--target", named, *options, "--", *command],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=popen.pop("cwd", ROOT),
            **popen,
        )
        run = Run(process, Lines(process.stdout), Lines(process.stderr))
        self.runs.append(run)
        return run

    def run(
        self,
        target: Container | str,
        *command: str,
        options: tuple[str, ...] = (),
        code: int = 0,
        **popen: Any,
    ) -> str:
        """The same, waited for; the app's output. Its exit code must be `code`."""
        run = self.start(target, *command, options=options, **popen)
        got = run.wait()
        text = "".join(run.out.seen)
        assert got == code, f"{command}: exit code {got}\n{text}\nstderr:\n{''.join(run.err.seen)}"
        return text

    def probe(self, target: Container, *words: str) -> Any:
        """What the probe program tells in the app."""
        return json.loads(self.run(target, "python3", "/programs/probe.py", *words).splitlines()[-1])

    def probe_inside(self, target: Container, *words: str) -> Any:
        """What the same program tells in the target itself."""
        return json.loads(self.inside(target, "python3", "/programs/probe.py", *words).splitlines()[-1])

    def record(
        self, target: Container, *ports: str, flags: tuple[str, ...] = (), options: tuple[str, ...] = ()
    ) -> Run:
        """An app that records what arrives at `ports`, ready: it listens and the agent mirrors."""
        run = self.start(target, "python3", "/programs/record.py", *flags, *ports, options=options)
        run.event(listening=None)
        run.said(": mirroring")
        return run

    def close_runs(self) -> None:
        for run in self.runs:
            run.end()
        self.runs.clear()

    def close(self) -> None:
        self.close_runs()
        for made in self.made:
            made.remove(force=True, v=True)
        self.network.remove()


def part(scene: Scene, role: str) -> Container:
    """The bridge or the app of this stage's run, or the agent that serves it."""
    for found in scene.client.containers.list(filters={"label": f"{ROLE}={role}"}, ignore_removed=True):
        if role == "agent" or scene.name in found.labels[TARGET]:
            return found
    raise AssertionError(f"no {role} runs")


@dataclass(frozen=True)
class Left:
    """What an engine and this host hold that could be what a scene's runs left behind.

    Others may use this engine and this product at the same time: their bridges and apps name other targets, the agent
    is counted only while nobody else's bridge needs it, and a volume only once no container has it.
    """

    containers: frozenset[str]
    volumes: frozenset[str]
    networks: frozenset[str]
    processes: frozenset[str]

    @classmethod
    def of(cls, scene: Scene) -> Left:
        client = scene.client
        parts = client.containers.list(all=True, filters={"label": ROLE}, ignore_removed=True)
        others = [
            c for c in parts if c.labels[ROLE] == "bridge" and scene.name not in c.labels.get(TARGET, "")
        ]
        ours = [c for c in parts if c not in others and (c.labels[ROLE] != "agent" or not others)]
        ours = [c for c in ours if c.labels[ROLE] == "agent" or scene.name in c.labels.get(TARGET, "")]
        return cls(
            frozenset(f"{c.name} {c.labels[ROLE]} {c.short_id}" for c in ours),
            frozenset(str(v.name) for v in client.volumes.list(filters={"dangling": "true"})),
            frozenset(str(n.name) for n in client.networks.list() if str(n.name).startswith("mirror-run")),
            frozenset(orphans({str(c.id) for c in client.containers.list(all=True, ignore_removed=True)})),
        )


PARTS = ("-m agent.main", "-m layer.main", "/.mirror-run/init", "mirror-link /run")


def orphans(containers: set[str]) -> Iterator[str]:
    """Processes of ours on this host whose container the engine no longer knows."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            groups = (path.parent / "cgroup").read_text()
        except OSError:
            continue  # it ended meanwhile
        ours = any(
            mark in text
            for mark in ("-m agent.main", "-m layer.main", "/.mirror-run/init", "mirror-link /run")
        )
        if ours and "docker" in groups and not any(container in groups for container in containers):
            yield f"{path.parent.name} {text}"


def wait_left(scene: Scene, before: Left, patience: float = 12.0) -> Left:
    """Waits until nothing is left beyond `before`; what there is then (or when patience ends)."""
    deadline = time.monotonic() + patience
    while True:
        now = Left.of(scene)
        if time.monotonic() > deadline or not (
            now.containers - before.containers
            or now.volumes - before.volumes
            or now.networks - before.networks
            or now.processes - before.processes
        ):
            return now
        time.sleep(0.1)
