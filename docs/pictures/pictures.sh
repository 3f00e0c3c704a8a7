#!/usr/bin/env bash
# The README's pictures: a recovered episode of the registered study, run again and opened in the pinned viewer, and the
# study's report in a browser. Both without a display.
set -euo pipefail

if [ "${1:-}" = --help ] || [ $# -gt 1 ]; then
    cat <<'HELP'
usage: docs/pictures/pictures.sh [DIR]    writes handover.png and report.png there (default: beside this script)

Needs what `cargo xtask demo` sets up and builds, a Vulkan driver and Chromium; on Debian
`apt-get install mesa-vulkan-drivers chromium`. The first run fetches the viewer (240 MB, by pip, pinned by version and
SHA-256) into AEGIS_CACHE. AEGIS names another binary than target/release/aegis, AEGIS_CHROMIUM another browser,
AEGIS_PYTHON another Python than python3.
HELP
    [ "${1:-}" = --help ]
    exit
fi

here="$(cd "$(dirname "$0")" && pwd)"
repository="$(cd "$here/../.." && pwd)"
out="${1:-$here}"
aegis="${AEGIS:-$repository/target/release/aegis}"
chromium="${AEGIS_CHROMIUM:-chromium}"
cache="${AEGIS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/aegis}"

need() { echo "error: $1" >&2; exit 3; }
[ -x "$aegis" ] || need "$aegis: missing; run \`cargo xtask demo\` first"
command -v "$chromium" > /dev/null || need "$chromium: missing; \`apt-get install chromium\`, or name one in AEGIS_CHROMIUM"
compgen -G '/usr/share/vulkan/icd.d/*.json' > /dev/null || compgen -G '/etc/vulkan/icd.d/*.json' > /dev/null \
    || need "no Vulkan driver; \`apt-get install mesa-vulkan-drivers\`"

mkdir -p "$out"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# The viewer, named by what it is made from; a second run finds it whole.
viewer="$cache/viewer/$(sha256sum "$here/requirements.lock" | cut -c 1-16)"
if [ ! -e "$viewer/complete" ]; then
    echo "fetching the viewer into $viewer" >&2
    rm -rf "$viewer"
    "${AEGIS_PYTHON:-python3}" -m venv "$viewer"
    "$viewer/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --requirement "$here/requirements.lock"
    touch "$viewer/complete"
fi
# Keeps its settings there too, and sends nothing to anybody.
run_viewer() {
    HOME="$work/home" XDG_CONFIG_HOME="$work/home/.config" XDG_RUNTIME_DIR="$work/home" WGPU_BACKEND=vulkan "$@"
}
mkdir -p "$work/home/.config"
run_viewer "$viewer/bin/rerun" analytics disable > "$work/viewer.log" 2>&1 || { cat "$work/viewer.log" >&2; exit 3; }

mkdir "$work/study"
gzip -dc "$repository/experiments/study/episodes.sqlite.gz" > "$work/study/episodes.sqlite"
# In the middle of the first hold.
"$aegis" replay "$work/study" --plan "$repository/experiments/study.toml" --loop 100 --rrd "$work/episode.rrd" >&2
run_viewer "$viewer/bin/python" "$here/shoot.py" "$work/episode.rrd" "$work/handover.png"

"$chromium" --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --user-data-dir="$work/profile" --window-size=1000,1180 \
    --screenshot="$work/report.png" "file://$repository/experiments/study/report.html" > "$work/browser.log" 2>&1 \
    || { cat "$work/browser.log" >&2; need "the browser failed"; }

# A palette keeps them small; what they show is flat.
"$viewer/bin/python" - "$work" "$out" <<'PYTHON'
import sys
from pathlib import Path

from PIL import Image

work, out = map(Path, sys.argv[1:])
for name in ("handover.png", "report.png"):
    with Image.open(work / name) as picture:
        palette = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    palette.save(work / f"small-{name}", optimize=True)
    (work / f"small-{name}").replace(out / name)
    print(out / name)
PYTHON
