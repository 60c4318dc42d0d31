#!/usr/bin/env bash
# Runs examples/pipelines/02-profile-enrichment on an embedded broker with data
# of its own, and prints each page view with what became of it.
# Usage: demo.sh STREAMCTL
set -euo pipefail
streamctl=$(realpath "$1")
cd "$(dirname "$0")/pipelines/02-profile-enrichment"
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
out=page-views-with-viewer-profile

s() { "$streamctl" "$@" --data-dir "$data" --log-level warn; }

# say BOLD TEXT
say() {
	if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then printf '\033[1m%s\033[0m\n' "$1"; else printf '%s\n' "$1"; fi
}

# profiles FILE: who is what from now on.
profiles() {
	say "Profile edits go in:"
	sed -E 's/^\{"key":"([^"]*)".*"new":(null|\{.*"positions":\[(\{[^}]*\})?.*)\}\}$/  \1  \2/; s/\{"location.*"positions":\[(\{[^}]*\})?.*/\1/' "$1"
	s produce profile-edits --from "$1" >/dev/null
	echo
}

# views FILE: each view and, below it, what came out for it.
views() {
	s produce page-views --from "$1" >/dev/null
	s run pipeline.yaml --until-end
	s consume "$out" --until-end >"$data/out"
	say "Page views go in, and come out:"
	while IFS= read -r line; do
		value=${line#*\"value\":}
		value=${value%\}}
		key=$(sed -E 's/^\{"key":"([^"]*)".*/\1/' <<<"$line")
		at=$(sed -E 's/.*"timestamp":([0-9]+).*/\1/' <<<"$line")
		result=$(grep -F "\"timestamp\":${at}000,\"key\":\"$key\"" "$data/out" | sed -E 's/.*"value":(.*)\}$/\1/' || true)
		printf '  in   %s\n  out  %s\n\n' "$value" "${result:-(nothing: the filter drops it)}"
	done <"$1"
}

profiles input/1-profile-edits.jsonl
views input/1-page-views.jsonl
profiles input/2-profile-edits.jsonl
s run pipeline.yaml --until-end
views input/3-page-views.jsonl
echo "The pipeline: examples/pipelines/02-profile-enrichment/pipeline.yaml"
