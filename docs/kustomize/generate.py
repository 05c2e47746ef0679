"""mirror-run.yaml beside this file: what `mirror-run install` applies, for those who install from a repository.

``python3 docs/kustomize/generate.py`` writes it; tests/runner/kube/test_install_manifests.py compares the two.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # run as a script from anywhere, the packages are two folders up
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from runner import VERSION
from runner.kube.install_manifests import InstallOptions
from runner.kube.rendered import as_yaml

FILE = Path(__file__).resolve().parent / "mirror-run.yaml"

IMAGE = f"registry.example.com/mirror-run/agent:{VERSION}"
"""Nobody's: kustomization.yaml says where it really is."""


def text() -> str:
    """The whole file."""
    head = "# Made by docs/kustomize/generate.py: the output of `mirror-run install --dry-run`.\n"
    return head + as_yaml(InstallOptions(image=IMAGE))


if __name__ == "__main__":
    FILE.write_text(text())
