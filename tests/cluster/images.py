"""Images of the container engine on every node: no registry is needed, and none is asked.

They go as `docker save` writes them, into both nodes at once. containerd puts `docker.io/` before a name without a
registry, as the kubelet does for a pod's `image`, so the engine's own references are right in a manifest, with
imagePullPolicy IfNotPresent or Never.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable

from tests.cluster import parts
from tests.cluster.places import NODES, Node

CTR = ("ctr", "-n", "k8s.io")
KEPT = 6
"""Versions of a repository that stay on a node, as on the engine: they share most of their layers."""

IDENTITY = "mirror-run.test/id"
LOADED = "mirror-run.test/loaded"
"""Labels of an image on a node: the engine's id of what was loaded under that name, and when (seconds since 1970)."""


def full_name(reference: str) -> str:
    """As containerd calls it (distribution/reference, "familiar names")."""
    first = reference.split("/")[0]
    if "/" in reference and ("." in first or ":" in first or first == "localhost"):
        return reference
    return f"docker.io/{reference}" if "/" in reference else f"docker.io/library/{reference}"


def _ctr(node: Node, *words: str) -> str:
    done = subprocess.run(parts.inside(node.name, *CTR, *words), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ctr {' '.join(words)} on {node.name}: {done.stderr.strip()}")
    return done.stdout


def present(node: Node) -> dict[str, dict[str, str]]:
    """Names of the images that a node has, and their labels."""
    found: dict[str, dict[str, str]] = {}
    for line in _ctr(node, "images", "ls").splitlines()[1:]:
        words = line.split()  # REF TYPE DIGEST SIZE PLATFORMS LABELS; no label has a space
        if "@" not in words[0] and not words[0].startswith("sha256:"):
            pairs = (pair.partition("=") for pair in words[-1].split(","))
            found[words[0]] = {key: value for key, _, value in pairs}
    return found


def _ids(references: Iterable[str]) -> dict[str, str]:
    wanted = list(references)
    done = subprocess.run(
        ["docker", "image", "inspect", *wanted], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the engine lacks an image: {done.stderr.strip()}")
    return {reference: image["Id"] for reference, image in zip(wanted, json.loads(done.stdout), strict=True)}


def load(references: Iterable[str], say: Callable[[str], None] = lambda text: None) -> None:
    """Has them on every node: at once where the same image is there under that name."""
    ids = _ids(references)
    has = {node: present(node) for node in NODES}
    for name, identity in ids.items():
        full = full_name(name)
        nodes = [node for node in NODES if has[node].get(full, {}).get(IDENTITY) != identity]
        if not nodes:
            continue
        say(f"{name} goes to {' and '.join(node.name for node in nodes)}")
        _send(name, nodes)
        for node in nodes:
            _ctr(node, "images", "label", full, f"{IDENTITY}={identity}", f"{LOADED}={time.time():.0f}")
            _prune(node, full)


def _send(reference: str, nodes: list[Node]) -> None:
    """One `docker save`, read once, written to all of them."""
    with subprocess.Popen(
        ["docker", "save", reference], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as save:
        imports = [
            subprocess.Popen(
                parts.inside(node.name, *CTR, "images", "import", "-"),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for node in nodes
        ]
        assert save.stdout is not None
        broken = False
        while not broken and (chunk := save.stdout.read(1 << 20)):
            for each in imports:
                assert each.stdin is not None
                try:
                    each.stdin.write(chunk)
                except BrokenPipeError:  # it says below why
                    broken = True
        if broken:
            save.kill()
        said = [(node, each.communicate()[1].decode(errors="replace").strip(), each.returncode)
                for node, each in zip(nodes, imports, strict=True)]  # fmt: skip
    for node, text, code in said:
        if code:
            raise RuntimeError(f"{reference} could not be loaded into {node.name}: {text}")
    if save.returncode:
        raise RuntimeError(f"docker save {reference}: {save.returncode}")


def _prune(node: Node, name: str) -> None:
    """Forgets the oldest loads of the same repository. What runs from them keeps running."""
    repository = name.rpartition(":")[0]
    loads = {
        other: labels for other, labels in present(node).items() if other.rpartition(":")[0] == repository
    }
    kept = sorted(loads, key=lambda other: int(loads[other].get(LOADED, "0")), reverse=True)[:KEPT]
    ids = {loads[other].get(IDENTITY) for other in kept}
    for old in loads.keys() - set(kept):
        _ctr(node, "images", "rm", old)
        identity = loads[old].get(IDENTITY)
        if identity and identity not in ids:  # the CRI plugin's own name for it would keep its layers
            _ctr(node, "images", "rm", identity)
