#!/bin/sh
# The C static analyser over the files given, in parallel; each is compiled with the flags its room uses.
set -eu

python=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
export CFLAGS="-std=gnu11 -D_GNU_SOURCE -I. -Inative -Iagent -Ilayer/netstack -isystem build/lwip/src/include -isystem $python"
# shellcheck disable=SC2016
printf '%s\n' "$@" | xargs -P "$(nproc)" -I FILE sh -c \
    'clang-tidy --quiet FILE -- $CFLAGS 2>/dev/null || { echo "clang-tidy: FILE" >&2; exit 1; }'
