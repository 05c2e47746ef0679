"""The cluster from a shell: `make cluster` and `make cluster-down` are up and down.

python -m tests.cluster up | down | status
python -m tests.cluster load IMAGE...        images of the engine into every node
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.cluster import cluster, images
from tests.cluster.kubectl import KubectlError


def say(text: str) -> None:
    print(f"cluster: {text}", file=sys.stderr, flush=True)


def main(words: Sequence[str]) -> int:
    try:
        match words:
            case ["up"]:
                cluster.up(say)
            case ["down"]:
                cluster.down(say)
            case ["status"]:
                print(cluster.status())
            case ["load", *references] if references:
                images.load(references, say)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except (cluster.ClusterError, KubectlError, RuntimeError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
