"""An image of one layer as `docker save` would write it, from nothing but files (Docker image specification v1.2)."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _tar(files: Mapping[str, bytes], mode: int) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return body.getvalue()


def docker_archive(reference: str, files: Mapping[str, bytes], entrypoint: Sequence[str]) -> bytes:
    """The archive of an image `reference` with these executables in its root."""
    layer = _tar(files, 0o755)
    configuration = json.dumps(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": ["layer.tar"]}]
    return _tar(
        {name: configuration, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}, 0o644
    )
