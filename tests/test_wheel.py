"""The wheel that people install: pure, whole, and what it builds images from is what the tree builds them from."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runner import sources

ROOT = Path(__file__).resolve().parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(pip, check=True)
    (made,) = folder.glob("*.whl")
    return made


def test_it_is_for_every_machine(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.endswith((".so", ".o", ".pyc"))]
    assert not [name for name in names if name.startswith(("tests/", "runner/_sources/images/host/"))]


def test_its_images_are_the_trees_images(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    ours, theirs = sources.load(), sources.load(tmp_path / "runner")
    assert [file.path for file in theirs.files] == [file.path for file in ours.files]
    assert theirs.digest() == ours.digest()


def test_it_installs_and_answers(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, where nothing may be compiled and neither cffi nor pyroute2 is."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", str(wheel)]
    subprocess.run(install, check=True)
    listed = subprocess.run(
        [str(python), "-m", "pip", "list"], capture_output=True, text=True, check=True
    ).stdout
    assert "pyroute2" not in listed
    assert "cffi" not in listed
    program = str(tmp_path / "venv" / "bin" / "mirror-run")
    said = subprocess.run(
        [program, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "--target" in said
    find = "from runner import images; print(images.names().bridge)"
    found = subprocess.run(
        [str(python), "-c", find], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    zipfile.ZipFile(wheel).extractall(tmp_path / "unpacked")
    assert found.strip() == f"mirror-run/bridge:{sources.load(tmp_path / 'unpacked' / 'runner').digest()}"
