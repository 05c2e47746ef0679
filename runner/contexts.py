"""Which engine to speak to, chosen as the docker command chooses it (docker-context(1)); pure but for
reading its files.

``DOCKER_HOST`` wins, then ``DOCKER_CONTEXT``, then the context chosen in ~/.docker/config.json, then the
usual sockets: the system's, a rootless engine's, Docker Desktop's, Colima's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.errors import Refusal
from wire.record import record

SYSTEM_SOCKET = "/var/run/docker.sock"


@record
class Endpoint:
    """Where an engine listens. ``said_by`` is what chose it, for error messages. The TLS paths are files or empty."""

    url: str
    said_by: str
    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = True

    @property
    def same_host(self) -> bool:
        """Whether it can see this machine's files (Docker Desktop's VM sees the shared ones, through the
        same socket)."""
        return self.url.startswith(("unix://", "npipe://"))


def choose(environ: Mapping[str, str], home: Path, asked: str = "") -> list[Endpoint]:
    """The endpoints to try, in order; ``asked`` is --docker-context. More than one only where nothing was chosen by
    anybody."""
    if asked:
        return [_of_context(asked, _folder(environ, home), "--docker-context")]
    if url := environ.get("DOCKER_HOST"):
        return [_of_host(url, environ, home)]
    folder = _folder(environ, home)
    name = environ.get("DOCKER_CONTEXT", "")
    said_by = "DOCKER_CONTEXT"
    if not name:
        name, said_by = _current_context(folder), f"{folder / 'config.json'}"
    if name and name != "default":
        return [_of_context(name, folder, said_by)]
    return [Endpoint(f"unix://{path}", "the usual socket") for path in _usual_sockets(environ, home)]


def _folder(environ: Mapping[str, str], home: Path) -> Path:
    return Path(environ.get("DOCKER_CONFIG") or home / ".docker")


def _of_host(url: str, environ: Mapping[str, str], home: Path) -> Endpoint:
    if not environ.get("DOCKER_TLS_VERIFY"):
        return Endpoint(url, "DOCKER_HOST")
    certs = Path(environ.get("DOCKER_CERT_PATH") or home / ".docker")
    return Endpoint(
        url, "DOCKER_HOST", str(certs / "ca.pem"), str(certs / "cert.pem"), str(certs / "key.pem")
    )


def _current_context(folder: Path) -> str:
    return str(_read_json(folder / "config.json").get("currentContext", ""))


def _of_context(name: str, folder: Path, said_by: str) -> Endpoint:
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = _read_json(folder / "contexts" / "meta" / key / "meta.json")
    engine = meta.get("Endpoints", {}).get("docker", {})
    if not engine.get("Host"):
        raise Refusal(
            f"there is no docker context named {name!r} (chosen by {said_by})",
            "`docker context ls` shows those there are; `docker context use NAME` chooses one",
        )
    tls = folder / "contexts" / "tls" / key / "docker"
    files = {
        part: str(tls / f"{part}.pem") if (tls / f"{part}.pem").exists() else ""
        for part in ("ca", "cert", "key")
    }
    verify = not engine.get("SkipTLSVerify", False)
    return Endpoint(engine["Host"], f"the docker context {name!r}", **files, verify=verify)


def _usual_sockets(environ: Mapping[str, str], home: Path) -> list[str]:
    places = [SYSTEM_SOCKET]
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        places.append(f"{runtime}/docker.sock")  # rootless
    places += [str(home / ".docker/run/docker.sock"), str(home / ".docker/desktop/docker.sock")]
    places.append(str(home / ".colima/default/docker.sock"))
    return [SYSTEM_SOCKET, *(place for place in places[1:] if Path(place).exists())]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Refusal(f"{path} cannot be read: {error}", "mend the file, or set DOCKER_HOST") from error
    return found if isinstance(found, dict) else {}
