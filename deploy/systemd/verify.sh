#!/usr/bin/env bash
# Checks the units of this directory. systemd-analyze only warns of a key that it
# does not know, so whatever it says is a failure here. The binary need not be
# installed for it.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v systemd-analyze >/dev/null 2>&1; then
	echo "verify units: systemd-analyze is missing; install systemd" >&2
	exit 1
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for unit in *.service; do
	sed 's|/usr/local/bin/streamctl|/bin/true|' "$unit" >"$dir/$unit"
	said=$(systemd-analyze verify --man=no "$dir/$unit" 2>&1) || said="$said (exit code $?)"
	if [ -n "$said" ]; then
		echo "$unit: $said" >&2
		exit 1
	fi
	echo "$unit is well-formed"
done
