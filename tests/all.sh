#!/bin/sh
# Every test (`make test` has seen to the packages). What takes minutes the first time, the cluster's executable and the
# tests' image, is made beside the tests that need neither; those that do wait for it, or make it themselves and say why
# that failed. The last line is pytest's own count: of all, or of those that were run again.
set -eu
cd "$(dirname "$0")/.."
logs=build/log
mkdir -p $logs
# Hundreds of processes import the tree's own modules, and each would compile them: a tenth of a second for a mirror-run.
unset PYTHONDONTWRITEBYTECODE
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
code=0
.venv/bin/python -m pytest -n "${PROCESSES:-4}" "$@" || code=$?
[ "$code" -eq 1 ] || exit "$code"
# Many tests wait for events with a limit, and on two processors four of them may keep one waiting for longer than that.
echo
echo '=== What failed beside others is run once more, alone. What fails again has failed. ==='
exec .venv/bin/python -m pytest -n 0 --last-failed --last-failed-no-failures none
