"""Two developers at once: on one deployment each gets a copy of everything, on two containers of a pod their own."""

from __future__ import annotations

import uuid

from .numbered import PORT, SERVER
from .scene import Scene, accepting, container, pod_spec, service, workload

OTHER = 8081


def test_both_see_every_request(scene: Scene) -> None:
    """And the one that stays does not notice that the other leaves."""
    name = scene.deployment("cart", 1, ("python3", "-c", SERVER), {"http": PORT})
    scene.reachable(scene.client(), "cart", PORT)
    options = ("--agent", "job", "--agent-image", scene.images.agent)
    anna = scene.start(name, "python3", "/programs/record.py", "--http", str(PORT), options=options)
    ben = scene.start(name, "python3", "/programs/record.py", "--http", str(PORT), options=options)
    for run in (anna, ben):
        run.said(": mirroring", 120)
    mark = asked(scene, PORT)
    for run in (anna, ben):
        run.event(request=f"GET {mark} HTTP/1.1")
    anna.end()
    mark = asked(scene, PORT)
    ben.event(request=f"GET {mark} HTTP/1.1")
    assert not any(mark in line for line in anna.out.seen)


def test_two_containers_of_one_pod(scene: Scene) -> None:
    """Each app is who its container is, and is sent what comes to the port that it listens on."""
    image = scene.images.programs
    one, two = (
        container(
            image,
            ["python3", "-c", SERVER.replace(str(PORT), str(port))],
            name,
            startupProbe=accepting(port),
            env=[{"name": "WHICH", "value": name}],
        )
        for name, port in (("one", PORT), ("two", OTHER))
    )
    scene.apply(
        workload("Deployment", "cart", pod_spec(one, two)), service("cart", {"one": PORT, "two": OTHER})
    )
    scene.ready("deployment/cart")
    scene.reachable(scene.client(), "cart", OTHER)
    runs = {}
    for name, port in (("one", PORT), ("two", OTHER)):
        options = ("--agent", "job", "--agent-image", scene.images.agent, "-c", name)
        script = f"echo which=$WHICH; exec python3 /programs/record.py --http {port}"
        runs[port] = scene.start("deploy/cart", "sh", "-c", script, options=options)
    for (port, run), name in zip(runs.items(), ("one", "two"), strict=True):
        assert run.out.wait(lambda line: line.startswith("which="), "the container", 120) == f"which={name}\n"
        run.said(f"mirroring {port}", 120)
    for port, run in runs.items():
        mark = asked(scene, port)
        run.event(request=f"GET {mark} HTTP/1.1")
        assert not any(mark in line for other in runs.values() if other is not run for line in other.out.seen)


def asked(scene: Scene, port: int) -> str:
    """One request of the client's, answered by the target; its path."""
    mark = f"/mark/{uuid.uuid4().hex[:8]}"
    assert scene.inside("client", "curl", "-sS", "-m", "15", f"http://cart:{port}{mark}").endswith(
        f" {mark}\n"
    )
    return mark
