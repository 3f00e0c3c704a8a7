# Sourced by the scripts of this folder: `serve FILE ENDPOINT [ARGUMENT…]` starts a server of $here with its log in $out, and the servers end
# with the script.

serving=()
trap 'kill "${serving[@]}" 2> /dev/null || true' EXIT

# Starts a server and waits for the line by which it says that it can be reached.
serve() {
    local log="$out/$1.log"
    : > "$log"
    python "$here/$1" --listen "$2" "${@:3}" > "$log" 2>&1 &
    serving+=($!)
    until grep -q '^serving ' "$log"; do
        kill -0 "${serving[-1]}" || { cat "$log" >&2; exit 1; }
        sleep 0.2
    done
}
