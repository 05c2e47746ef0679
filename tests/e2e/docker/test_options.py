"""Docker's own options keep docker's meaning; who the app runs as; and what ls, ps, stop and doctor say."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest
from docker.models.containers import Container

from .scene import MIRROR_RUN, PATIENCE, Scene


def mirror_run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(MIRROR_RUN), *words], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_env_files_and_names_without_values(scene: Scene, target: Container, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nFROM_FILE=1\nOVER=file\nFROM_CALLER\n")
    options = ("--env-file", str(tmp_path / "env"), "-e", "OVER=option", "-e", "ALSO_CALLER")
    text = scene.run(
        target, "env", options=options, env=os.environ | {"FROM_CALLER": "a", "ALSO_CALLER": "b"}
    )
    assert {"FROM_FILE=1", "OVER=option", "FROM_CALLER=a", "ALSO_CALLER=b"} <= set(text.splitlines())


def test_variables_of_the_target_by_wildcard(scene: Scene, target: Container) -> None:
    text = scene.run(target, "env", options=("--override-env-vars-include", "GIVEN_*"))
    assert "GIVEN_BY_COMPOSE=yes" in text
    assert "FROM_ENTRYPOINT" not in text
    options = ("--override-env-vars-exclude", "GIVEN_*", "--map-env", r"FROM_(\w+)=\1 mapped")
    text = scene.run(target, "env", options=options)
    assert "GIVEN_BY_COMPOSE" not in text
    assert "FROM_ENTRYPOINT=ENTRYPOINT mapped" in text


def test_an_unset_variable_is_not_even_the_images(scene: Scene, target: Container) -> None:
    options = ("--unset-env", "OF_*;PATH", "-e", "OF_MINE=a=b\nc")
    text = scene.run(target, "env", options=options)
    assert "OF_MINE=a=b\nc\n" in text
    assert "PATH=" not in text


ODD = r"""export ODD_LINES="$(printf 'one\ntwo=2\n\nthree')" ODD_OCTETS="$(printf '\377\376x')"
export ODD_EMPTY= ODD_EQUALS==a=b=
exec sleep 600"""


def test_values_of_any_octets_pass_whole(scene: Scene, target: Container, tmp_path: Path) -> None:
    """Of the target, from the command line and a file: several lines, no UTF-8, nothing, more than one '='."""
    made = scene.container("odd", ["sh", "-c", ODD])
    (tmp_path / "env").write_bytes(b"FILE_OCTETS=\xff\xfe\nFILE_EQUALS==a=b=\nFILE_EMPTY=\n")
    given = (b"-e", b"GIVEN_OCTETS=\xff\xfe", b"-e", b"GIVEN_LINES=one\ntwo=2\n", b"-e", b"GIVEN_EMPTY=")
    options = ("--env-file", str(tmp_path / "env"), *(os.fsdecode(word) for word in given))
    script = "import json, os; print(json.dumps({k.decode(): v.hex() for k, v in os.environb.items() if b'_' in k}))"
    scene.wait_inside(made, "pidof", "sleep")
    found = json.loads(scene.run(made, "python3", "-c", script, options=options))
    scene.remove(made)
    wanted = {
        "ODD_LINES": b"one\ntwo=2\n\nthree",
        "ODD_OCTETS": b"\xff\xfex",
        "ODD_EMPTY": b"",
        "ODD_EQUALS": b"=a=b=",
        "FILE_OCTETS": b"\xff\xfe",
        "FILE_EQUALS": b"=a=b=",
        "FILE_EMPTY": b"",
        "GIVEN_OCTETS": b"\xff\xfe",
        "GIVEN_LINES": b"one\ntwo=2\n",
        "GIVEN_EMPTY": b"",
    }
    assert {name: bytes.fromhex(found[name]) for name in wanted if name in found} == wanted


def test_volumes_directory_limits_and_name(scene: Scene, target: Container, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mounted\n")
    name = f"{scene.name}-named-{uuid.uuid4().hex[:4]}"
    options = (
        "-v",
        f"{tmp_path}:/given:ro",
        "-w",
        "/given",
        "--name",
        name,
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "--label",
        "a=b",
    )
    run = scene.start(target, "sh", "-c", "cat file; pwd; touch x 2>&1; echo up; sleep 60", options=options)
    run.out.wait(lambda line: "up" in line, "the app's line")
    assert run.out.seen[:2] == ["mounted\n", "/given\n"]
    assert "Read-only" in run.out.seen[2]
    app = scene.client.containers.get(name)
    assert (app.attrs["HostConfig"]["Memory"], app.attrs["HostConfig"]["NanoCpus"]) == (64 << 20, 500_000_000)
    assert app.labels["a"] == "b"
    run.end()


@pytest.mark.parametrize(
    ("user", "told"),
    [("1234:4321", "1234 4321 /home/u1234"), ("nobody", "65534 65534 /nonexistent"), ("0", "0 0 /root")],
)
def test_users(scene: Scene, target: Container, user: str, told: str) -> None:
    script = 'echo $(id -u) $(id -g) $HOME; whoami; touch "$HOME/x" 2>/dev/null'
    assert scene.run(target, "sh", "-c", script, options=("-u", user)).splitlines()[0] == told


def test_hosts_and_hostname(scene: Scene, target: Container) -> None:
    script = "hostname; getent hosts added.example; cat /etc/hostname; grep -c added.example /etc/hosts"
    options = ("--add-host", "added.example:198.51.100.7", "--hostname", "mine")
    said = scene.run(target, "sh", "-c", script, options=options).split()
    assert said == ["mine", "198.51.100.7", "added.example", "mine", "1"]


def test_without_a_command_the_app_runs_what_the_target_runs(scene: Scene, target: Container) -> None:
    made = scene.container("greets", ["sh", "-c", "echo I greet $WHO; sleep 300"], environment={"WHO": "you"})
    run = scene.start(made)
    run.out.wait(lambda line: line == "I greet you\n", "the target's own command")
    run.end()
    scene.remove(made)


def test_another_image_and_entrypoint(scene: Scene, target: Container, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f'FROM {scene.image}\nRUN echo built > /proof\nENTRYPOINT ["cat"]\nCMD ["/proof"]\n'
    )
    run = scene.start(target, options=("--build", str(tmp_path)))
    run.out.wait(lambda line: line == "built\n", "the built image's own command")
    assert run.wait() == 0
    assert scene.run(target, "proof", options=("--entrypoint", "echo")) == "proof\n"


@pytest.mark.parametrize(
    ("options", "said", "next_step"),
    [
        (("--image", "no-such/image:1", "--pull", "never"), "not on this engine", "docker pull"),
        (("--map-port", "x"), "no pair of ports", "APP:TARGET"),
        (("-u", "nobodyknows"), "no user 'nobodyknows'", "/etc/passwd"),
        (("-v", "/nowhere/at/all"), "-v /nowhere/at/all", "SOURCE:DESTINATION"),
        (("--network", "no-such-network"), "no-such-network", "docker network ls"),
        (("--network", "host"), "only be added", "docker network ls"),
    ],
)
def test_errors_have_a_next_step(
    scene: Scene, target: Container, options: tuple[str, ...], said: str, next_step: str
) -> None:
    run = scene.start(target, "true", options=options)
    assert run.wait() == 125
    text = "".join(run.err.seen)
    assert said in text
    assert next_step in text


def test_a_name_that_is_taken(scene: Scene, target: Container) -> None:
    run = scene.start(target, "true", options=("--name", str(target.name)))
    assert run.wait() == 125
    assert "is there already" in "".join(run.err.seen)
    target.reload()
    assert target.status == "running", "the container that has the name was touched"


def test_no_engine_and_no_permission(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(MIRROR_RUN), "x", "--", "true"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/none"},
    )
    assert done.returncode == 125
    assert "no container engine answers" in done.stderr


def test_ls_ps_and_stop(scene: Scene, target: Container) -> None:
    assert f"container/{target.name}" in mirror_run("ls").stdout
    run = scene.start(target, "sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done")
    run.out.wait(lambda line: "up" in line, "the app's line")
    listed = [line.split() for line in mirror_run("ps").stdout.splitlines() if str(target.name) in line]
    assert [line[1] for line in listed] == [f"container/{target.name}"]
    assert mirror_run("stop", "no-such-session").returncode == 125
    stopped = mirror_run("stop", listed[0][0])
    assert stopped.returncode == 0, stopped.stderr
    assert run.wait() == 9
    assert str(target.name) not in mirror_run("ps").stdout


def test_doctor(scene: Scene) -> None:
    done = mirror_run("doctor")
    assert done.returncode == 0, done.stdout
    for word in ("engine", "images", "/dev/net/tun", "SYS_PTRACE", "address pools"):
        assert word in done.stdout
