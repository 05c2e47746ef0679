"""Builds what is missing of the images, for make and the tests; prints one reference a line.

.venv/bin/python images/ensure.py base        the base image alone (what test images start FROM)
.venv/bin/python images/ensure.py             bridge and agent
"""

from __future__ import annotations

import argparse
import os
import sys

import docker

from runner.base import ensure_base
from runner.errors import Refusal
from runner.images import ensure


def say(text: str) -> None:
    print(f"images: {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["base", "product"], default="product")
    what: str = parser.parse_args().what
    api = docker.APIClient(version="auto", timeout=600)
    try:
        if what == "base":
            print(ensure_base(api, say))
        else:
            made = ensure(api, say, os.environ)
            print(made.bridge, made.agent, sep="\n")
    except Refusal as refusal:
        sys.exit(f"images: {refusal.what}\nimages: {refusal.next_step}")


if __name__ == "__main__":
    main()
