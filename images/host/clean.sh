#!/bin/sh
# Removes from the engine what this project made on it, by its labels and names: containers, the demo's network, images.
# Nothing else is touched.
set -eu

docker info >/dev/null 2>&1 || exit 0

demo=label=com.docker.compose.project=mirror-run-demo
for filter in label=mirror-run.dev/role "$demo"; do
    docker ps -aq --filter "$filter" | xargs -r docker rm -f -v >/dev/null
done
docker network ls -q --filter "$demo" | xargs -r docker network rm >/dev/null
for filter in label=mirror-run.dev/image 'reference=mirror-run/*' 'reference=mirror-run-demo/*' 'reference=mirror-run-test/*'; do
    docker images -aq --filter "$filter" | sort -u | xargs -r docker rmi -f >/dev/null 2>&1 || true # in use by others
done
