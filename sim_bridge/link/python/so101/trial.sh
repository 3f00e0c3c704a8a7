#!/usr/bin/env bash
# A trial on the SO-101 in real time, from nothing to a verified report: `bash trial.sh DIR`. Needs `aegis` and a Python with
# requirements.txt on PATH. What it makes goes to DIR, which must not exist. About 30 minutes, nearly all of it the arm's own time.
set -euo pipefail

out=$1
here=$(dirname "$(realpath "$0")")
mkdir "$out"
. "$here/serve.sh"

# Writes a robot file with these initial states as its starts.
robot() {
    local starts="" state
    for state in $(seq "$2" "$3"); do starts+="    { task = 0, initial_state = $state },\n"; done
    sed "s/^STARTS$/${starts%\\n}/" "$here/robot.toml" > "$out/$1"
}

python "$here/train_weak.py" --out "$out"
# The simulator shares the processors with everything else, and its limit is not that of an arm that could hurt somebody.
serve serve_so101.py tcp/127.0.0.1:7447 --command-timeout 1000
serve serve_strong.py tcp/127.0.0.1:7451
aegis model card tcp/127.0.0.1:7451 --out "$out/strong.toml"

# The probe learns from rollouts on the robot itself, from starts that neither training nor the trial has.
robot collect.toml 100 179
aegis collect --robot "$out/collect.toml" --auto-start --out "$out/rollouts.parquet"
aegis probe fit --rollouts "$out/rollouts.parquet" --model "$out/weak.toml" --horizon 100 --chunk-steps 3 --out "$out/probe.json"

robot robot.toml 400 407
cp "$here/trial.toml" "$out/trial.toml"
aegis trial register "$out/trial.toml"
python "$here/person.py" "$out/serve_so101.py.log" aegis trial run "$out/trial.toml" --out "$out/trial"
aegis trial report "$out/trial.toml" "$out/trial" > "$out/report.txt"
aegis trial verify "$out/trial.toml" "$out/trial"
cat "$out/report.txt"
