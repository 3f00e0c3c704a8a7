#!/usr/bin/env bash
# A SmolVLA of LeRobot's own class at its published size with random weights, from nothing: checkpoint, export, list of
# the model's tensors, three boundaries on LIBERO-Spatial, seconds per inference beside PyTorch, and the check of the
# card. Random weights have no skill: this shows that size, card, tokens and noise work, and what they cost.
#
#   python3.11 -m venv runs/lerobot && runs/lerobot/bin/pip install -r policies/train/requirements-lerobot.txt
#   cargo xtask setup && cargo build --release
#   policies/train/lerobot_smolvla.sh
#
# Run it from the repository's root. What is there already is kept, so a run that was stopped goes on where it ended. In
# the environment, OUT is the folder of everything, COUNT the timed inferences, AEGIS the program and PYTHON that of
# LeRobot. docs/guide/lerobot-export.md has the figures.
set -euo pipefail

out=${OUT:-runs/smolvla}
count=${COUNT:-5}
aegis=${AEGIS:-target/release/aegis}
python=${PYTHON:-runs/lerobot/bin/python}
suite=${AEGIS_CACHE:-$HOME/.cache/aegis}/scenes/libero_spatial
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
mkdir -p "$out"

step() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }

if [ ! -e "$out/checkpoint" ]; then
    step checkpoint
    rm -rf "$out/checkpoint.part"
    "$python" policies/train/random_checkpoint.py smolvla --out "$out/checkpoint.part" --vlm "$out/vlm" \
        --suite "$suite"
    mv "$out/checkpoint.part" "$out/checkpoint"
fi

# The instruction of the first task, whose tokens the card then holds.
task=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["language"])' "$suite/tasks/00/task.json")
if [ ! -e "$out/smolvla.toml" ]; then
    step export
    "$python" policies/train/export_lerobot.py smolvla --checkpoint "$out/checkpoint" --out "$out/smolvla" \
        --task "$task" \
        --read observation.state=eef_position,eef_quaternion:axis_angle,gripper_positions \
        --read observation.images.image=agentview:180 --read observation.images.image2=robot0_eye_in_hand:180
fi
ls -l "$out"/smolvla.*

step inspect
"$aegis" model inspect "$out/smolvla.onnx" > "$out/tensors.txt"
head -n 20 "$out/tensors.txt"

# The plan of the shipped policies, with this one as the weak policy, one episode of three chunks.
sed -e "s|^weak = .*|weak = \"smolvla.toml\"|" -e "s|^strong = .*|strong = \"$PWD/policies/models/strong.toml\"|" \
    -e "s|^horizon_steps = .*|horizon_steps = 30|" -e "s|^suite = .*|&\ntasks = [0]|" \
    -e "s|^discovery = .*|discovery = { first = 200, end = 201, replicates = 1 }|" \
    experiments/demo.toml > "$out/plan.toml"
step rollout
[ -e "$out/discovery.parquet" ] ||
    "$aegis" collect discovery --plan "$out/plan.toml" --workers 1 --out "$out/discovery.parquet"

step time
"$python" policies/train/inference_time.py smolvla --checkpoint "$out/checkpoint" --model "$out/smolvla.onnx" \
    --task "$task" --count "$count"

# Last, because it takes the most inferences: two for each number that the plant offers.
step check
"$aegis" model check --deadline-ms 600000 "$out/smolvla.toml"
step done
