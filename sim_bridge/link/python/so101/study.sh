#!/usr/bin/env bash
# A study on the SO-101 simulator, from nothing to a verified report: `bash study.sh DIR`. Needs `aegis` and a Python with
# requirements.txt on PATH. What it makes goes to DIR, which must not exist.
set -euo pipefail

out=$1
here=$(dirname "$(realpath "$0")")
mkdir "$out"
. "$here/serve.sh"

python "$here/train_weak.py" --out "$out"
serve serve_so101.py tcp/127.0.0.1:7447
serve serve_strong.py tcp/127.0.0.1:7451
plant=(--connect tcp/127.0.0.1:7447 --plant so101)

aegis plan plant "${plant[@]}" --suite so101_pick_place --initial-states 300 --out "$out/so101.toml"
aegis model card tcp/127.0.0.1:7451 --out "$out/strong.toml"
aegis model check "$out/weak.toml" "${plant[@]}"
aegis plan new --plant-file "$out/so101.toml" --out "$out/study.toml"
# Episodes of ten seconds and chunks of half a second. A fire holds long enough to fetch the block and put it down, and the blind arm
# helps in as many episodes as the gate did in a pilot of the tuning range. A failure begins late here, so the score is judged over the
# first 60 steps and not the first 30, by which no probe told one from the other in that pilot: the study has no precondition.
sed -i -e 's|^horizon_steps = .*|horizon_steps = 100|' -e 's|^chunk_steps = .*|chunk_steps = 5|' \
    -e 's|^hold_chunks = .*|hold_chunks = 10|' -e 's|^head = .*|head = "linear"|' -e 's|^early_fraction = .*|early_fraction = 0.60|' \
    -e 's|^precondition = .*||' -e 's|{ at = \[5, 9\] }|{ at = [6] }\nshare = 0.33|' "$out/study.toml"

aegis collect discovery --plan "$out/study.toml" "${plant[@]}" --out "$out/discovery.parquet"
aegis collect calibration --plan "$out/study.toml" "${plant[@]}" --out "$out/calibration.parquet"
aegis probe fit --plan "$out/study.toml" --discovery "$out/discovery.parquet" --calibration "$out/calibration.parquet"
aegis plan pilot "$out/study.toml" "${plant[@]}" --sets 20
aegis plan register "$out/study.toml" "${plant[@]}"
aegis experiment run --plan "$out/study.toml" "${plant[@]}" --out "$out/run"
aegis experiment report "$out/run" --plan "$out/study.toml" > "$out/report.txt"
aegis experiment verify "$out/run" --plan "$out/study.toml" "${plant[@]}" --rerun 3
