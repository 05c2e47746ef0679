#!/bin/sh
# Installs the packages of the named groups of packages.txt that are missing; silent and quick when none is.
#
#   install.sh GROUP...
set -eu

here=$(cd "$(dirname "$0")" && pwd)
missing=
for group in "$@"; do
    for package in $(awk -v group="$group" '$1 == group {print $2}' "$here/packages.txt"); do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] ||
            missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "install: missing:$missing; install them (as root, on Debian or Ubuntu, this is done here)" >&2
    exit 1
fi
echo "install:$missing" >&2
export DEBIAN_FRONTEND=noninteractive

# Nothing is to begin serving because it was installed (nginx on port 80, an engine with other addresses): invoke-rc.d(8)
# asks this file, and 101 is no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi

# The lists may be old or absent: ask for new ones only when an install without them fails.
# shellcheck disable=SC2086  # a list of words
apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends $missing >/dev/null
}
