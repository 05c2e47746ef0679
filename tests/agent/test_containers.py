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


UID = "6f1c2b9e-0d3a-4c57-8a11-2b3c4d5e6f70"
ELSE = "11111111-2222-3333-4444-555555555555"
SYSTEMD = UID.replace("-", "_")


@pytest.mark.parametrize(
    "path",
    [
        f"0::/kubepods/besteffort/pod{UID}/{ONE}",
        f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SYSTEMD}.slice/cri-containerd-{ONE}.scope",
        f"0::/kubepods.slice/kubepods-pod{SYSTEMD}.slice/crio-{ONE}.scope/container",
        f"0::/../../pod{UID}/{ONE}",
        f"0::/../../../kubepods-pod{SYSTEMD}.slice/cri-containerd-{ONE}.scope",
        f"12:memory:/kubepods/pod{UID}/{ONE}\n1:name=systemd:/kubepods/pod{UID}/{ONE}\n0::/",
        f"0::/docker/{OTHER}/kubelet.slice/kubelet-kubepods-pod{SYSTEMD}.slice/cri-containerd-{ONE}.scope",
        f"0::/kubepods/pod{UID}/{ONE}/kubepods/pod{ELSE}/{OTHER}",
    ],
)
def test_the_kubelet_names_the_pod_in_the_cgroup(tmp_path: Path, path: str) -> None:
    """With either cgroup driver, from any cgroup namespace; the outermost counts, since the rest is the container's."""
    process(tmp_path, 500, path, started=5)
    assert containers.pod_of(ONE, str(tmp_path)) == UID


@pytest.mark.parametrize(
    "path",
    [
        f"0::/docker/{ONE}",
        f"0::/system.slice/pod{UID}.service/x/{ONE}" + "\n" + f"1:a:/kubepods/pod{ELSE}/{ONE}",
        f"0::/kubepods/pod{UID}0/{ONE}",
        f"0::/{ONE}/pod{UID}",
        f"0::/../../{ONE}",
    ],
)
def test_what_is_no_pods_or_not_certainly(tmp_path: Path, path: str) -> None:
    process(tmp_path, 500, path, started=5)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text("1 2 3:4 /etc/hosts /etc/hosts rw\n")
    assert containers.pod_of(ONE, str(tmp_path)) == ""


@pytest.mark.parametrize("name", [f"/../{ONE}", f"/../cri-containerd-{ONE}.scope"])
def test_beside_us_in_our_own_pod(tmp_path: Path, name: str) -> None:
    """From a cgroup namespace of a container of the same pod its uid is not to be seen; our own mounts say it."""
    process(tmp_path, 500, f"0::{name}", started=5)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text(
        f"700 600 8:1 /var/lib/kubelet/pods/{UID}/etc-hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw\n"
    )
    assert containers.pod_of(ONE, str(tmp_path)) == UID


def test_a_container_cannot_pass_for_anothers(tmp_path: Path) -> None:
    """With a cgroup of its own making, named as the other's; its process is the older one."""
    process(tmp_path, 100, f"0::/kubepods/pod{ELSE}/{OTHER}/kubepods/pod{UID}/{ONE}", started=1)
    process(tmp_path, 200, f"0::/kubepods/pod{UID}/{ONE}", started=9)
    assert containers.first_pid(ONE, str(tmp_path)) == 200
    assert containers.pod_of(ONE, str(tmp_path)) == UID


def test_the_runtimes_monitor_is_not_the_container(tmp_path: Path) -> None:
    process(tmp_path, 100, f"0::/system.slice/crio-conmon-{ONE}.scope", started=1)
    process(tmp_path, 200, f"0::/system.slice/crio-{ONE}.scope", started=2)
    assert containers.first_pid(ONE, str(tmp_path)) == 200
