#!/bin/sh
# Every test (`make test` has seen to the packages). What takes minutes the first time, the cluster's executable and the
# tests' image, is made beside the tests that need neither; those that do wait for it, or make it themselves and say why
# that failed. The last line is pytest's own count.
set -eu
cd "$(dirname "$0")/.."
logs=build/log
mkdir -p $logs
prepared=

# In the background, $1 names the log.
prepare() {
    log=$1
    shift
    setsid "$@" >"$logs/$log" 2>&1 & # a group of its own, which ends whole
    prepared="$prepared -$!"
}
# shellcheck disable=SC2086  # a list of numbers
trap '[ -z "$prepared" ] || kill -- $prepared 2>/dev/null || true; exit 130' HUP INT TERM

[ -n "${MIRROR_RUN_TEST_KUBECONFIG:-}" ] || prepare cluster .venv/bin/python -m tests.cluster up
make -s native images
prepare programs .venv/bin/python -m tests.e2e.prepare
.venv/bin/python -m pytest -n "${PROCESSES:-4}" "$@"
