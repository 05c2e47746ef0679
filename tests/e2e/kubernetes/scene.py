"""The stage of the end-to-end tests on a cluster: a namespace with workloads in it, and mirror-run as one starts it.

Kubernetes is asked through kubectl and waited for by watching; what a test says of it does not depend on the product.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.kubectl import Json, Kubectl
from tests.e2e.docker.scene import MIRROR_RUN, ROOT, Lines, Run

PATIENCE = 60.0
APP = "app"
"""The label by which workloads and Services find their pods."""

SESSION, ROLE = "mirror-run.dev/session", "mirror-run.dev/role"
"""On everything that a session makes, in the cluster and on the engine."""

PORTS = {"http": 8080, "also": 8090, "redis": 6379, "websocket": 8765, "h2": 8443}
"""Of target.sh."""


@dataclass(frozen=True, slots=True)
class Images:
    """References that every node has, and the engine."""

    programs: str
    """What tests run (tests/e2e/image)."""
    agent: str


def container(image: str, command: Sequence[str], name: str = "main", **more: Any) -> Json:
    """One that is pulled from nowhere."""
    return {"name": name, "image": image, "imagePullPolicy": "IfNotPresent", "command": list(command), **more}


def accepting(port: int) -> Json:
    """A startup probe by connect(2): once it was answered the pod is ready, and nobody asks again and is mirrored."""
    return {"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 60}


def pod_spec(*containers: Json, **more: Any) -> Json:
    """A second after SIGTERM comes SIGKILL: nobody here needs longer, and most do not listen."""
    return {"terminationGracePeriodSeconds": 1, "containers": list(containers), **more}


def workload(
    kind: str, name: str, spec: Json, replicas: int = 1, labels: Mapping[str, str] | None = None
) -> Json:
    """A Deployment, StatefulSet, ReplicaSet or DaemonSet of pods labelled app=NAME."""
    own = {APP: name, **(labels or {})}
    body: Json = {
        "selector": {"matchLabels": {APP: name}},
        "template": {"metadata": {"labels": own}, "spec": spec},
    }
    if kind != "DaemonSet":
        body["replicas"] = replicas
    if kind == "StatefulSet":
        body |= {"serviceName": name, "podManagementPolicy": "Parallel"}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "labels": own}, "spec": body}


def service(name: str, ports: Mapping[str, int], app: str = "", **more: Any) -> Json:
    """Named ports, each to the same port of the pods labelled app=NAME."""
    listed = [{"name": called, "port": port, "targetPort": port} for called, port in ports.items()]
    spec = {"selector": {APP: app or name}, "ports": listed, **more}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def apart(app: str) -> Json:
    """A topology spread: as many pods of it on one node as on the other, of those that take any."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor",
        "labelSelector": {"matchLabels": {APP: app}},
    }


@dataclass
class Scene:
    """One namespace, and the runs of mirror-run against it."""

    kubectl: Kubectl
    """As the cluster's administrator."""
    namespace: str
    images: Images
    runs: list[Run] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)
    """Of the runs that were ended."""

    # --- making ---------------------------------------------------------------------------------------------------

    def kube(self, *words: str, text: str | None = None, patience: float = PATIENCE) -> str:
        """kubectl in this namespace; what it printed."""
        return self.kubectl("-n", self.namespace, *words, text=text, patience=patience)

    def get(self, *words: str) -> Json:
        return self.kubectl.json("-n", self.namespace, "get", *words)

    def apply(self, *objects: Json) -> None:
        self.kubectl.apply(*objects, namespace=self.namespace)

    def deployment(
        self,
        name: str,
        replicas: int = 1,
        command: Sequence[str] = ("sh", "/programs/target.sh"),
        ports: Mapping[str, int] = PORTS,
        kind: str = "Deployment",
        spec: Json | None = None,
        **more: Any,
    ) -> str:
        """Pods of the programs' image behind a Service of the same name, spread over the nodes, ready. "deploy/NAME".

        `more` is for the container (env, securityContext …), `spec` for the pod.
        """
        first = next(iter(ports.values()), None)
        probe: Json = {"startupProbe": accepting(first)} if first else {}
        pods = pod_spec(container(self.images.programs, command, **probe, **more), **(spec or {}))
        if replicas > 1:
            pods.setdefault("topologySpreadConstraints", [apart(name)])
        made = [workload(kind, name, pods, replicas)]
        self.apply(*made, *([service(name, ports)] if ports else []))
        self.ready(f"{kind.lower()}/{name}")
        return f"{'deploy' if kind == 'Deployment' else kind.lower()}/{name}"

    def pod(
        self, name: str, command: Sequence[str] = ("sleep", "infinity"), spec: Json | None = None, **more: Any
    ) -> str:
        """One pod of the programs' image, ready; its name."""
        body = pod_spec(container(self.images.programs, command, **more), **(spec or {}))
        metadata = {"name": name, "labels": {APP: name}}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body})
        self.ready(f"pod/{name}")
        return name

    def client(self, node: str = "") -> str:
        """A pod for `inside`, on a node if it matters which: a client that is no part of any session."""
        return self.pod(f"client-{node}" if node else "client", spec={"nodeName": node} if node else None)

    # --- waiting --------------------------------------------------------------------------------------------------

    def ready(self, what: str, patience: float = PATIENCE) -> None:
        """Waits for a workload's rollout, or for a pod."""
        limit = f"--timeout={patience:.0f}s"
        if what.startswith("pod/"):
            self.kube("wait", "--for=condition=Ready", what, limit, patience=patience + 10)
        elif what.startswith("replicaset/"):
            self.until(
                lambda set_: set_.get("status", {}).get("readyReplicas", 0) == set_["spec"]["replicas"], what
            )
        else:
            self.kube("rollout", "status", what, limit, patience=patience + 10)

    def until(self, wanted: Callable[[Json], bool], *words: str, patience: float = PATIENCE) -> Json:
        """The first state of an object that is wanted."""
        return self.kubectl.until(wanted, "-n", self.namespace, *words, patience=patience)

    def scale(self, name: str, replicas: int) -> None:
        self.kube("scale", f"deployment/{name}", f"--replicas={replicas}")
        self.ready(f"deployment/{name}")

    def reachable(self, client: str, host: str, port: int) -> None:
        """Waits until `host` answers: a Service may refuse for a moment after its pods are ready."""
        self.wait_inside(client, "nc", "-z", "-w", "2", host, str(port))

    # --- looking --------------------------------------------------------------------------------------------------

    def pods(self, app: str) -> list[Json]:
        """Those of a workload that are not ending, oldest first."""
        found = self.get("pods", "-l", f"{APP}={app}")["items"]
        alive = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return sorted(alive, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))

    def names(self, app: str) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.pods(app)]

    def address(self, pod: str) -> str:
        return str(self.get("pod", pod)["status"]["podIP"])

    def inside(self, where: str, *command: str, container: str = "", check: bool = True) -> str:
        """Runs a command in a pod ("NAME", "deploy/NAME"); what it wrote to stdout. `check`: it must succeed."""
        words = ["exec", where, *(["-c", container] if container else []), "--", *command]
        done = self.kubectl.tried("-n", self.namespace, *words)
        assert not check or done.returncode == 0, (
            f"{command} in {where}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    def wait_inside(self, where: str, *command: str, patience: float = PATIENCE) -> None:
        """Waits until a command succeeds in a pod (for a server to accept: there is no other event for that)."""
        deadline = time.monotonic() + patience
        while (done := self.kubectl.tried("-n", self.namespace, "exec", where, "--", *command)).returncode:
            assert time.monotonic() < deadline, (
                f"{command} in {where} never succeeded: {done.stdout}{done.stderr}"
            )

    def logs(self, pod: str, *words: str) -> str:
        return self.kube("logs", pod, "--all-containers", *words)

    # --- mirror-run -----------------------------------------------------------------------------------------------

    def start(
        self,
        target: str,
        *command: str,
        options: Sequence[str] = (),
        user: Kubectl | None = None,
        stdin: Any = subprocess.DEVNULL,
        **popen: Any,
    ) -> Run:
        """mirror-run -n NAMESPACE --target TARGET OPTIONS -- COMMAND, as `user` (by default the administrator)."""
        process = subprocess.Popen(
            [
                str(MIRROR_RUN), "--log-level", "debug", "-n", self.namespace, "--target", target,
                *options, "--", *command,
            ],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=popen.pop("cwd", ROOT),
            env=(user or self.kubectl).environment() | popen.pop("env", {}),
            **popen,
        )  # fmt: skip
        run = Run(process, Lines(process.stdout), Lines(process.stderr))
        self.runs.append(run)
        return run

    def run(self, target: str, *command: str, options: Sequence[str] = (), code: int = 0, **more: Any) -> str:
        """The same, waited for; the app's output. Its exit code must be `code`."""
        run = self.start(target, *command, options=options, **more)
        got = run.wait()
        text = "".join(run.out.seen)
        assert got == code, f"{command}: exit code {got}\n{text}\nstderr:\n{''.join(run.err.seen[-80:])}"
        return text

    def probe(self, target: str, *words: str, options: Sequence[str] = ()) -> Any:
        """What the probe program tells in the app."""
        said = self.run(target, "python3", "/programs/probe.py", *words, options=options)
        return json.loads(said.splitlines()[-1])

    def probe_inside(self, where: str, *words: str) -> Any:
        """What the same program tells in a pod itself."""
        return json.loads(self.inside(where, "python3", "/programs/probe.py", *words).splitlines()[-1])

    def record(
        self, target: str, *ports: str, flags: Sequence[str] = (), options: Sequence[str] = (), **more: Any
    ) -> Run:
        """An app that records what arrives at `ports`, ready: it listens and the agents mirror."""
        run = self.start(target, "python3", "/programs/record.py", *flags, *ports, options=options, **more)
        run.event(listening=None)
        run.said(": mirroring")
        return run

    def close_runs(self) -> None:
        for run in self.runs:
            run.end()
            self.sessions |= {found[1] for line in run.err.seen if (found := CREATED.search(line))}
        self.runs.clear()


# --- what sessions leave ------------------------------------------------------------------------------------------

SEEN = ("pods", "jobs.batch", "mirrorsessions.mirror-run.dev")
NO_SUCH_KIND = ("the server doesn't have a resource type", "the server could not find the requested resource")
CREATED = re.compile(r"mirror-run-([0-9a-f]{8})-(?:app|bridge)\b")
"""A session's number, from the names of its containers, which --log-level debug tells."""


def left(scene: Scene) -> set[str]:
    """What belongs to a session of this scene's runs, or to any in its namespace: in the cluster, and on the engine.

    Others may use both at the same time, so that "all there is" would be theirs too.
    """
    found: set[str] = set()
    for kind in SEEN:
        listed = scene.kubectl.tried("get", kind, "-A", "-l", SESSION, "-o", "json")
        if listed.returncode:  # nothing is installed, or it is being uninstalled: there is no such kind
            assert any(words in listed.stderr for words in NO_SUCH_KIND), listed.stderr
            continue
        for one in json.loads(listed.stdout)["items"]:
            meta = one["metadata"]
            if meta["namespace"] == scene.namespace or meta["labels"][SESSION] in scene.sessions:
                found.add(f"{kind} {meta['namespace']}/{meta['name']}")
    for session in scene.sessions:
        command = [
            "docker",
            "ps",
            "-a",
            "--filter",
            f"label={SESSION}={session}",
            "--format",
            "container {{.Names}}",
        ]
        found |= set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())
    return found


def wait_left(scene: Scene, patience: float = 15.0) -> set[str]:
    """What is left, once nothing is, or when patience ends."""
    deadline = time.monotonic() + patience
    while (found := left(scene)) and time.monotonic() < deadline:
        time.sleep(0.2)  # several kinds and an engine have no one event that says "none is left"
    return found


def told(scene: Scene) -> Iterator[tuple[str, str]]:
    """For a failed test, (title, text): what the runs, the namespace and the agents said."""
    for number, run in enumerate(scene.runs):
        yield f"mirror-run {number}, stderr", "".join(run.err.seen[-80:])
    words = ("-n", scene.namespace)
    for title, command in {
        "pods": ("get", "pods", *words, "-o", "wide"),
        "events": ("events", *words),
        "described": ("describe", *words, "pods"),
    }.items():
        yield f"{title} of {scene.namespace}", _short(scene.kubectl.tried(*command).stdout)
    yield from agents_said(scene.kubectl)


def agents_said(kubectl: Kubectl) -> Iterator[tuple[str, str]]:
    for agent in kubectl.items("get", "pods", "-A", "-l", f"{ROLE}=agent"):
        name, namespace = agent["metadata"]["name"], agent["metadata"]["namespace"]
        done = kubectl.tried("-n", namespace, "logs", name, "--tail=80")
        where = agent["spec"].get("nodeName", "no node")
        yield f"log of {namespace}/{name} on {where}", done.stdout or done.stderr


def _short(text: str, lines: int = 150) -> str:
    return "\n".join(text.splitlines()[-lines:])
