#!/usr/bin/env bash
# Runs the commands of a documentation page as they are printed: `tests/follow.sh docs/guide/PAGE.md`, in the repository's root. For
# pages that need gigabytes of packages; those that do not are run by the tests. Processes that a page leaves in the background end
# with it.
set -euo pipefail

page=$1
commands=$(awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$page")
[ -n "$commands" ] || { echo "$page: found no commands; valid is a page with \`\`\`sh blocks" >&2; exit 2; }
exec bash -euo pipefail -c "trap 'kill \$(jobs -p) 2> /dev/null || true' EXIT
set -x
$commands"
