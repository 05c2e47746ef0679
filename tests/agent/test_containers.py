"""From a container's id to its first process: over a /proc made for the test, of every runtime's habits."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import containers

ONE, OTHER = "1" * 64, "2" * 64


def process(
    proc: Path, pid: int, cgroup: str, *, started: int, comm: str = "app", children: tuple[int, ...] = ()
) -> None:
    """What the code reads of one process. The name in stat holds what can confuse a reader."""
    folder = proc / str(pid)
    (folder / "task" / str(pid)).mkdir(parents=True)
    (folder / "cgroup").write_text(cgroup)
    (folder / "comm").write_text(comm + "\n")
    after = ["S", "1", *["0"] * 17, str(started), *["0"] * 20]
    (folder / "stat").write_text(f"{pid} (a) b ({comm}) {' '.join(after)}\n")
    (folder / "task" / str(pid) / "children").write_text(" ".join(map(str, children)))


@pytest.mark.parametrize(
    "path",
    [
        f"0::/docker/{ONE}",
        f"0::/../{ONE}",
        f"0::/system.slice/docker-{ONE}.scope",
        f"0::/system.slice/docker-{ONE}.scope/init.scope",
        f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-pod7.slice/cri-containerd-{ONE}.scope",
        f"0::/kubepods/besteffort/pod7/{ONE}",
        f"0::/machine.slice/libpod-{ONE}.scope/container",
        f"9:name=systemd:/docker/{ONE}\n8:pids:/docker/{ONE}\n0::/",
    ],
)
def test_every_runtime_names_the_container_in_its_cgroup(tmp_path: Path, path: str) -> None:
    process(tmp_path, 1, "0::/init.scope", started=1)
    process(tmp_path, 400, f"0::/docker/{OTHER}", started=3)
    process(tmp_path, 500, path, started=5)
    assert containers.first_pid(ONE, str(tmp_path)) == 500


def test_the_first_is_who_started_first_not_who_has_the_lowest_pid(tmp_path: Path) -> None:
    process(tmp_path, 30, f"0::/docker/{ONE}", started=900)
    process(tmp_path, 32000, f"0::/docker/{ONE}", started=100)
    assert containers.first_pid(ONE, str(tmp_path)) == 32000


def test_of_two_in_the_same_tick_the_lower_pid(tmp_path: Path) -> None:
    process(tmp_path, 11, f"0::/docker/{ONE}", started=100)
    process(tmp_path, 10, f"0::/docker/{ONE}", started=100)
    assert containers.first_pid(ONE, str(tmp_path)) == 10


def test_nobody_there(tmp_path: Path) -> None:
    process(tmp_path, 1, f"0::/docker/{OTHER}", started=1)
    (tmp_path / "sys").mkdir()
    (tmp_path / "77").mkdir()  # it ended while we looked
    with pytest.raises(containers.NotHere, match="no process of container 111111111111"):
        containers.first_pid(ONE, str(tmp_path))


@pytest.mark.parametrize("name", ["", "docker", ONE[:12], ONE + "0", ONE.replace("1", "g"), "../" + ONE])
def test_only_a_full_id_is_looked_for(tmp_path: Path, name: str) -> None:
    """A shorter text would match another container's cgroup, or every one."""
    with pytest.raises(ValueError, match="full id"):
        containers.first_pid(name, str(tmp_path))


def test_before_its_command_runs(tmp_path: Path) -> None:
    process(tmp_path, 5, "", started=1, comm="runc:[2:INIT]")
    process(tmp_path, 6, "", started=1, comm="postgres")
    assert not containers.has_begun(5, str(tmp_path))
    assert containers.has_begun(6, str(tmp_path))


def test_behind_a_mere_init_is_the_service(tmp_path: Path) -> None:
    process(tmp_path, 5, "", started=1, comm="docker-init", children=(9, 7))
    process(tmp_path, 7, "", started=30)
    process(tmp_path, 9, "", started=20)
    process(tmp_path, 6, "", started=1, comm="nginx", children=(8,))
    process(tmp_path, 4, "", started=1, comm="tini")
    assert containers.service_pid(5, str(tmp_path)) == 9
    assert containers.service_pid(6, str(tmp_path)) == 6
    assert containers.service_pid(4, str(tmp_path)) == 4
