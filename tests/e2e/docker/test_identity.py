"""The app has the target's identity: name, files, environment, and clients that are who they are."""

from __future__ import annotations

import os

from docker.models.containers import Container

from .scene import ROLE, ROOT, TARGET, Scene


def test_hostname_hosts_and_resolv_conf_are_the_targets(scene: Scene, target: Container) -> None:
    script = "hostname; cat /etc/hosts /etc/resolv.conf"
    assert scene.run(target, "sh", "-c", script) == scene.inside(target, "sh", "-c", script)


def test_tun0_carries_the_targets_addresses(scene: Scene, target: Container) -> None:
    text = scene.run(target, "ip", "-o", "addr", "show", "dev", "tun0")
    assert scene.address(target) + "/" in text
    assert scene.address(target, 6) + "/" in text


def test_environment_is_the_targets_process_with_what_its_entrypoint_exported(
    scene: Scene, target: Container
) -> None:
    text = scene.run(target, "env", options=("-e", "MINE=1", "-e", "GIVEN_BY_COMPOSE=changed"))
    variables = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert variables["FROM_ENTRYPOINT"] == "exported by the entrypoint"
    assert variables["MINE"] == "1"
    assert variables["GIVEN_BY_COMPOSE"] == "changed"
    assert variables["HOME"] not in ("", "/root") or os.getuid() == 0


def test_environment_of_a_process_that_wrote_over_it(scene: Scene, target: Container) -> None:
    """nginx keeps its title where its environment was: what the container was given counts then."""
    made = scene.container("titled", ["nginx", "-g", "daemon off;"], environment={"GIVEN": "yes"})
    try:
        scene.wait_inside(made, "sh", "-c", "nc -z 127.0.0.1 80")
        assert scene.run(made, "sh", "-c", 'echo "$GIVEN"').strip() == "yes"
    finally:
        scene.remove(made)


def test_environment_stays_out_of_inspect(scene: Scene, target: Container) -> None:
    run = scene.start(target, "sh", "-c", "echo up; sleep 60", options=("-e", "SECRET_VALUE=tell-nobody"))
    run.out.wait(lambda line: "up" in line, "the app's first line")
    made = scene.client.containers.list(filters={"label": f"{TARGET}=container/{target.name}"})
    agents = scene.client.containers.list(filters={"label": f"{ROLE}=agent"}, ignore_removed=True)
    assert {found.labels[ROLE] for found in made} == {"app", "bridge"}
    for found in (*made, *agents):
        shown = str(found.attrs)
        assert "tell-nobody" not in shown
        assert "exported by the entrypoint" not in shown


def test_work_tree_and_owner(scene: Scene, target: Container) -> None:
    where = ROOT / "tests"
    text = scene.run(
        target,
        "sh",
        "-c",
        "pwd; id -u; touch build-proof 2>/dev/null; ls -d ../pyproject.toml; whoami",
        cwd=where,
    )
    made = where / "build-proof"
    try:
        assert made.stat().st_uid == os.getuid()
    finally:
        made.unlink()
    assert text.split()[:3] == [str(where), str(os.getuid()), "../pyproject.toml"]


def test_a_mirrored_connection_comes_from_the_real_client(
    scene: Scene, target: Container, bystander: Container
) -> None:
    run = scene.record(target, "8080")
    scene.inside(bystander, "curl", "-sS", f"http://{scene.address(target)}:8080/")
    assert run.event(open=8080)["peer"][0] == scene.address(bystander)
    scene.inside(bystander, "curl", "-sS", "-g", f"http://[{scene.address(target, 6)}]:8080/")
    assert run.event(open=8080)["peer"][0] == scene.address(bystander, 6)
