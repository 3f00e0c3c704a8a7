#!/usr/bin/env bash
# An ACT of LeRobot's own class, from nothing but the simulator: demonstrations, a LeRobotDataset, LeRobot's own
# trainer, the export, the check of the card, rollouts on LIBERO-Spatial, a probe and its figures.
#
#   python3.11 -m venv runs/lerobot && runs/lerobot/bin/pip install -r policies/train/requirements-lerobot.txt
#   cargo xtask setup && cargo build --release
#   policies/train/lerobot_act.sh
#
# Run it from the repository's root. What is there already is kept, so a run that was stopped goes on where it ended. In
# the environment, OUT is the folder of everything, STEPS the training steps, AEGIS the program and PYTHON that of
# LeRobot. docs/evidence/lerobot.md has the figures and the time.
set -euo pipefail

out=${OUT:-runs/act}
steps=${STEPS:-5000}
aegis=${AEGIS:-target/release/aegis}
python=${PYTHON:-runs/lerobot/bin/python}
suite=${AEGIS_CACHE:-$HOME/.cache/aegis}/scenes/libero_spatial
# All data is local, and the trainer's second process reads them while the first computes.
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
mkdir -p "$out"

step() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }

# 700 undisturbed demonstrations and 700 with disturbances that the expert corrects, as for the shipped policies.
if [ ! -e "$out/dataset" ]; then
    step demonstrations
    [ -e "$out/demonstrations.safetensors" ] || "$aegis" demonstrate --out "$out/demonstrations.safetensors" --seed 1
    [ -e "$out/disturbed.safetensors" ] || "$aegis" demonstrate --out "$out/disturbed.safetensors" --seed 2 --rate 0.02
    step data set
    # LeRobot's trainer knows no flag for a step whose action was not sent, so these are left out.
    "$python" policies/train/lerobot_dataset.py write --layout lowdim --only-clean --suite "$suite" \
        --data "$out"/{demonstrations,disturbed}.safetensors --out "$out/dataset"
fi

if [ ! -e "$out/training/checkpoints/last" ]; then
    step training
    # Without ENV, ACT reads the environment's state as it is, in metres. No variational encoder: the expert is one, and
    # is a function of the state. The schedule is there because ACT's own preset is a constant rate for 100,000 steps.
    rm -rf "$out/training"
    "$(dirname "$python")/lerobot-train" --dataset.repo_id=aegis/demonstrations --dataset.root="$out/dataset" \
        --output_dir="$out/training" --steps="$steps" --save_freq="$steps" --log_freq=200 \
        --batch_size=64 --num_workers=1 --seed=1 \
        --policy.type=act --policy.device=cpu --policy.push_to_hub=false --wandb.enable=false \
        --policy.normalization_mapping='{"STATE": "MEAN_STD", "ENV": "MEAN_STD", "ACTION": "MEAN_STD"}' \
        --policy.chunk_size=10 --policy.n_action_steps=10 --policy.use_vae=false \
        --policy.dim_model=192 --policy.dim_feedforward=512 --policy.n_encoder_layers=2 --policy.dropout=0 \
        --use_policy_training_preset=false --optimizer.type=adamw --optimizer.lr=5e-4 --optimizer.weight_decay=1e-4 \
        --scheduler.type=cosine_decay_with_warmup --scheduler.peak_lr=5e-4 --scheduler.decay_lr=5e-6 \
        --scheduler.num_warmup_steps=200 --scheduler.num_decay_steps="$steps"
fi

step export
"$python" policies/train/export_lerobot.py act --checkpoint "$out/training/checkpoints/last/pretrained_model" \
    --dataset "$out/dataset" --out "$out/act"
"$aegis" model check "$out/act.toml"

# The plan of the shipped policies, with this one as the weak policy.
sed -e "s|^weak = .*|weak = \"act.toml\"|" -e "s|^strong = .*|strong = \"$PWD/policies/models/strong.toml\"|" \
    -e "s|^probe = .*|probe = \"probe.json\"|" experiments/demo.toml > "$out/plan.toml"
for range in discovery calibration confirmation; do
    step "rollouts: $range"
    [ -e "$out/$range.parquet" ] || "$aegis" collect "$range" --plan "$out/plan.toml" --out "$out/$range.parquet"
done

step probe
"$aegis" probe fit --plan "$out/plan.toml" --discovery "$out/discovery.parquet" --calibration "$out/calibration.parquet"
"$aegis" probe eval --plan "$out/plan.toml" --discovery "$out/discovery.parquet" \
    --episodes "$out/confirmation.parquet" --out "$out/evaluation"
step done
