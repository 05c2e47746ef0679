"""The image that end-to-end tests run: minutes of packages the first time, so `make test` begins with it beside others.

Their fixtures ask for the same and wait for it; what failed here, they try again, and tell.
"""

from __future__ import annotations

import docker

from runner import images
from tests.e2e.docker.scene import ensure_image
from tests.once import once


def programs(client: docker.DockerClient) -> str:
    """The image of the programs that tests run; the product's own images are built on the way."""
    with once("images"):
        images.ensure(client, lambda line: None)
        return ensure_image(client, images.base(client, lambda line: None))


if __name__ == "__main__":
    print(programs(docker.from_env(timeout=120)))
