"""What the engine's refusals mean for the user, and the next step: a table of its own sentences. Pure."""

from __future__ import annotations

import re

from runner.errors import CANNOT_EXECUTE, FAILED, NOT_FOUND, Refusal

_KNOWN: tuple[tuple[str, str, str, int], ...] = (
    (
        r"/dev/net/tun",
        "the engine's machine has no /dev/net/tun, which the bridge needs",
        "`sudo modprobe tun` on that machine; in a container or VM, let its /dev/net/tun be passed in",
        FAILED,
    ),
    (
        r"bind source path does not exist: (?P<path>\S+)|invalid mount config.*?(?P<other>/\S+)",
        "the engine cannot see {path} to mount it",
        "share that folder with the engine's machine (Docker Desktop: Settings, Resources, File sharing)",
        FAILED,
    ),
    (
        r"name \"?/?(?P<path>[^\" ]+)\"? is already in use",
        "a container named {path} is there already",
        "choose another --name, or `docker rm -f {path}`",
        FAILED,
    ),
    (
        r"port is already allocated|address already in use",
        "a port of -p is taken on this machine",
        "choose another host port, or stop what holds it (`ss -ltnp`)",
        FAILED,
    ),
    (
        r"network (?P<path>\S+) not found",
        "there is no network {path} on this engine",
        "`docker network ls` shows those there are",
        FAILED,
    ),
    (
        r"exec format error|exec user process caused",
        "the image's architecture is not this machine's, and no emulator is there for it",
        "choose the platform with --platform, or install binfmt support (`apt install qemu-user-static`)",
        CANNOT_EXECUTE,
    ),
    (
        r"no space left on device",
        "the engine's disk is full",
        "`docker system df` shows what takes it; `docker system prune` makes room",
        FAILED,
    ),
    (
        r"(could not find|failed to find).*address pool|non-overlapping IPv4 address pool",
        "the engine has no address pool left for another network",
        "`docker network prune` frees those of networks that are not used",
        FAILED,
    ),
    (
        r"executable file not found",
        "the image has no such program",
        "check the command, or choose another image with --image",
        NOT_FOUND,
    ),
    (
        r"operation not permitted|permission denied",
        "the engine may not do what a session needs",
        "`mirror-run doctor` shows which right is missing",
        FAILED,
    ),
)


def translated(sentence: str) -> Refusal:
    """The engine's own sentence stays readable beneath ours."""
    for pattern, what, next_step, code in _KNOWN:
        if found := re.search(pattern, sentence, re.IGNORECASE | re.DOTALL):
            path = next((text for text in found.groupdict().values() if text), "")
            return Refusal(
                f"{what.format(path=path)}\n(the engine: {sentence})", next_step.format(path=path), code=code
            )
    return Refusal(f"the engine refused: {sentence}", "`mirror-run doctor` looks at what a session needs")
