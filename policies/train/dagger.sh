#!/usr/bin/env bash
# One round of DAgger on LIBERO-Spatial: the weak policy learns from what the strong one did after each fire, of the episodes
# that then reached their goal, and both weak policies are compared on starts that neither has seen.
#
#   python3.11 -m venv runs/train/venv && runs/train/venv/bin/pip install -r policies/train/requirements.txt
#   cargo xtask setup && cargo build --release
#   PYTHON=runs/train/venv/bin/python policies/train/dagger.sh
#
# Run it from the repository's root. What is there already is kept, so a run that was stopped goes on where it ended. In the
# environment, OUT is the folder of everything, SEED the seed of the training, DEMOS, STARTS and JUDGED how many starts of
# each task the demonstrations, the interventions and the comparison have, and AEGIS the program.
set -euo pipefail

out=${OUT:-runs/dagger}
seed=${SEED:-1}
demos=${DEMOS:-4}
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

# The shipped training again, without the interventions and with them: the same seed and the same packages.
train() { [ -e "$out/$1.toml" ] || { step "training: $1"; "$python" policies/train/train.py weak --seed "$seed" "${@:2}" --out "$out/$1"; }; }
train before --data "$out/demonstrations.safetensors"
train after --data "$out/demonstrations.safetensors" --interventions "$out/corrections.safetensors"

for policy in before after; do
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

won = []
for name in ("before", "after"):
    rows = pq.read_table(f"{sys.argv[1]}/{name}.parquet", columns=["task", "initial_state", "replicate", "success"])
    won.append({(row["task"], row["initial_state"], row["replicate"]): row["success"] for row in rows.to_pylist()})
before, after = won
assert before.keys() == after.keys()
print(len(before), sum(before.values()), sum(after.values()))
print(sum(after[key] and not before[key] for key in before), sum(before[key] and not after[key] for key in before))
PY
{ read -r episodes before after; read -r b c; } < "$out/pairs"
printf '%s episodes: before %s, after %s; won only after %s, only before %s\n' "$episodes" "$before" "$after" "$b" "$c"
"$aegis" stats mcnemar --b "$b" --c "$c"
