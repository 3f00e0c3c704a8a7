#!/usr/bin/env bash
# One round of DAgger on LIBERO-Spatial: the weak policy learns from what the strong one did after each fire, of the episodes
# that then reached their goal. It is compared with the policy without them, and with one of as much more data from the expert
# alone, on starts that none of the three has seen.
#
#   python3.11 -m venv runs/train/venv && runs/train/venv/bin/pip install -r policies/train/requirements.txt
#   cargo xtask setup && cargo build --release
#   PYTHON=runs/train/venv/bin/python policies/train/dagger.sh
#
# Run it from the repository's root. What is there already is kept, so a run that was stopped goes on where it ended. In the
# environment, OUT is the folder of everything, SEED the seed of the training, DEMOS, MORE, STARTS and JUDGED how many starts of
# each task the demonstrations, those of the policy with more, the interventions and the comparison have, and AEGIS the program.
set -euo pipefail

out=${OUT:-runs/dagger}
seed=${SEED:-1}
demos=${DEMOS:-4}
more=${MORE:-9}
starts=${STARTS:-40}
judged=${JUDGED:-40}
aegis=${AEGIS:-target/release/aegis}
python=${PYTHON:-runs/train/venv/bin/python}
suite=${AEGIS_CACHE:-$HOME/.cache/aegis}/scenes/libero_spatial
mkdir -p "$out"

step() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }

# The shipped weak policy learned from the first four of each task.
[ -e "$out/demonstrations.safetensors" ] || {
    step demonstrations
    "$aegis" demonstrate --out "$out/demonstrations.safetensors" --seed 1 --starts "50..$((50 + demos))"
}

[ -e "$out/more.safetensors" ] || {
    step "more demonstrations"
    "$aegis" demonstrate --out "$out/more.safetensors" --seed 1 --starts "50..$((50 + more))"
}

# Episodes of the shipped pair on starts of their own, from 1000 on; the arm aegis fires by the shipped probe.
if [ ! -e "$out/corrections" ]; then
    step episodes
    sed -e "s|\.\./policies/models|$PWD/policies/models|" -e 's|^arms = .*|arms = ["weak", "aegis"]|' \
        -e '/better = "aegis", than = "\(blind\|random\)"/d' -e '/^precondition = /d' -e '/^\[study.rules.blind\]/,$d' \
        -e "s|^confirmation = .*|confirmation = { first = 1000, end = $((1000 + starts)), replicates = 1 }|" \
        experiments/template.toml > "$out/collect.toml"
    [ -e "$out/collect.lock.toml" ] || "$aegis" plan register "$out/collect.toml" --without-trial
    "$aegis" experiment run --plan "$out/collect.toml" --out "$out/episodes"
    step interventions
    "$aegis" export lerobot "$out/episodes" --plan "$out/collect.toml" --only-interventions --only-successful \
        --out "$out/corrections"
fi
"$python" policies/train/interventions.py "$out/corrections" --suite "$suite" --out "$out/corrections.safetensors"

# The shipped training again, without the interventions, with them, and with more demonstrations: the same seed and the same
# packages.
train() { [ -e "$out/$1.toml" ] || { step "training: $1"; "$python" policies/train/train.py weak --seed "$seed" "${@:2}" --out "$out/$1"; }; }
train before --data "$out/demonstrations.safetensors"
train after --data "$out/demonstrations.safetensors" --interventions "$out/corrections.safetensors"
train more --data "$out/more.safetensors" --demonstrations $((10 * more))

for policy in before after more; do
    if [ ! -e "$out/$policy.parquet" ]; then
        step "rollouts: $policy"
        sed -e "s|^weak = .*|weak = \"$policy.toml\"|" -e "s|\.\./policies/models|$PWD/policies/models|" \
            -e "s|^confirmation = .*|confirmation = { first = 500, end = $((500 + judged)), replicates = 1 }|" \
            experiments/demo.toml > "$out/$policy-plan.toml"
        "$aegis" collect confirmation --plan "$out/$policy-plan.toml" --out "$out/$policy.parquet"
    fi
done

step comparison
"$python" - "$out" <<'PY' > "$out/pairs"
import sys

import pyarrow.parquet as pq

won = {}
for name in ("before", "after", "more"):
    rows = pq.read_table(f"{sys.argv[1]}/{name}.parquet", columns=["task", "initial_state", "replicate", "success"])
    won[name] = {(row["task"], row["initial_state"], row["replicate"]): row["success"] for row in rows.to_pylist()}
for name in ("before", "more"):
    other, after = won[name], won["after"]
    assert other.keys() == after.keys()
    b = sum(after[key] and not other[key] for key in other)
    c = sum(other[key] and not after[key] for key in other)
    print(name, len(other), sum(other.values()), sum(after.values()), b, c)
PY
while read -r name episodes other after b c; do
    printf '%s episodes: %s %s, after %s; won only after %s, only %s %s\n' "$episodes" "$name" "$other" "$after" "$b" "$name" "$c"
    "$aegis" stats mcnemar --b "$b" --c "$c"
done < "$out/pairs"
