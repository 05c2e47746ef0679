"""Docker's own options that are not simply passed on: what was written, as the Engine API has it, or why it says
nothing. Pure.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from runner import ports
from runner.config import Caller, RunOptions
from runner.errors import Refusal


def understood(options: RunOptions, caller: Caller) -> None:
    """Refusal for an option of docker's that says nothing: before anything is looked for or made."""
    ports.published(options.publish)
    ports.mapped(options.map_ports)
    network(options)
    octets(options.memory)
    for volume in options.volumes:
        bind(volume, caller)
    for line in options.add_hosts:
        host(line)


def network(options: RunOptions) -> str:
    """Docker's network mode of the bridge."""
    named = options.network or ("bridge" if options.publish else "none")
    if named == "host" or named.startswith("container:"):
        raise Refusal(
            f"--network {named}: the app has the target's network; another one may only be added to it",
            "name a network of `docker network ls`, or leave the option out",
        )
    return named


def host(text: str) -> bytes:
    """--add-host, as a line of /etc/hosts."""
    name, found, address = text.partition("=" if "=" in text and ":" not in text.partition("=")[0] else ":")
    if not (name and found and address):
        raise Refusal(
            f"--add-host {text}: no host and address", "write HOST:IP, for example db.example:198.51.100.7"
        )
    return f"{address.strip('[]')}\t{name}\n".encode()


def labels(texts: Sequence[str]) -> dict[str, str]:
    """--label NAME=VALUE, each."""
    split = (text.partition("=") for text in texts)
    return {name: value for name, _, value in split}


def bind(volume: str, caller: Caller) -> str:
    """docker's -v, with a relative source made absolute as docker's client does."""
    source, colon, rest = volume.partition(":")
    if not colon:
        raise Refusal(
            f"-v {volume}: no source and destination", "write SOURCE:DESTINATION[:ro], as for docker"
        )
    if source.startswith((".", "~")):
        source = os.path.normpath(caller.cwd / os.path.expanduser(source))
    return f"{source}:{rest}"


def octets(text: str) -> int:
    """docker's sizes: a number and b, k, m, g."""
    if not text:
        return 0
    number, unit = text.lower().rstrip("b"), 1
    if number and number[-1] in "kmgt":
        number, unit = number[:-1], 1024 ** (1 + "kmgt".index(number[-1]))
    try:
        return int(float(number) * unit)
    except ValueError:
        raise Refusal(f"--memory {text}: no size", "write a number and a unit, for example 512m") from None
