"""Without a target: a place of the session's own in the cluster, its names and its ways."""

from __future__ import annotations

import subprocess

from .scene import Scene

SERVER = ["python3", "-m", "http.server", "--bind", "::", "8000"]
CURL = "curl -sS --max-time 10 -o /dev/null -w '%{http_code}\\n'"


def options(scene: Scene) -> list[str]:
    return ["--image", scene.images.programs]


def test_the_names_and_ways_of_a_pod_there(scene: Scene) -> None:
    scene.deployment("cart", 1, SERVER, {"http": 8000})
    script = f"{CURL} http://cart:8000/; {CURL} -k https://kubernetes.default/version; cat /etc/resolv.conf"
    said = scene.run("targetless", "sh", "-c", script, options=options(scene))
    assert said.splitlines()[:2] == ["200", "200"]
    assert f"search {scene.namespace}.svc." in said


def test_its_pod_is_made_again_when_it_is_gone(scene: Scene) -> None:
    peer = scene.pod("peer", SERVER)
    script = f"echo up; while read go; do {CURL} --retry 3 http://{scene.address(peer)}:8000/; done"
    run = scene.start("targetless", "sh", "-c", script, options=options(scene), stdin=subprocess.PIPE)
    run.out.wait(lambda line: "up" in line, "the app's line")
    (pod,) = scene.get("pods", "-l", "mirror-run.dev/target=targetless")["items"]
    scene.kube("delete", "pod", pod["metadata"]["name"], "--wait=false")
    run.said("the way out is through")
    assert run.process.stdin is not None
    run.process.stdin.write("go\n")
    run.process.stdin.flush()
    run.out.wait(lambda line: line == "200\n", "the answer from the peer")
    run.end()


def test_an_image_is_needed(scene: Scene) -> None:
    run = scene.start("targetless", "true")
    assert run.wait() == 125
    assert any("no image to run in" in line for line in run.err.seen)
