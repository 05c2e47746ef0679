#!/bin/sh
# Removes from the engine what this project made on it, by its labels: containers, then images. Nothing else is touched.
set -eu

docker info >/dev/null 2>&1 || exit 0
containers=$(docker ps -aq --filter label=mirror-run.dev/role)
# shellcheck disable=SC2086  # lists of words
[ -z "$containers" ] || docker rm -f -v $containers >/dev/null
for label in mirror-run.dev/image; do
    images=$(docker images -q --filter label=$label | sort -u)
    # shellcheck disable=SC2086
    [ -z "$images" ] || docker rmi -f $images >/dev/null
done
