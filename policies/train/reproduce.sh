#!/usr/bin/env bash
# Makes everything in policies/models from nothing but the simulator: demonstrations, both policies, the probe.
#
#   python3 -m venv runs/train/venv && runs/train/venv/bin/pip install -r policies/train/requirements.txt
#   PYTHON=runs/train/venv/bin/python policies/train/reproduce.sh
#
# Run it from the repository's root after `cargo xtask setup`; it takes about 20 minutes on two cores, and twice as long
# again for the policy that looks, which is drawn for on the processor.
set -euo pipefail

python=${PYTHON:-python3}
data=runs/train
models=policies/models
aegis() { cargo run --quiet --release --bin aegis -- "$@"; }
train() { "$python" policies/train/train.py "$@"; }
mkdir -p "$data" "$models"

# Weak: a small network and a few undisturbed demonstrations.
aegis demonstrate --out "$data/demonstrations.safetensors" --seed 1
train weak --data "$data/demonstrations.safetensors" --out "$models/weak"

# Strong: many, with disturbances that the expert corrects, and states that the weak policy gets into.
aegis demonstrate --out "$data/disturbed.safetensors" --seed 2 --rate 0.02
aegis demonstrate --out "$data/after-weak.safetensors" --seed 3 --rate 0.01 --learner "$models/weak.toml"
train strong --data "$data"/{demonstrations,disturbed,after-weak}.safetensors --out "$data/strong-first" --epochs 10

# Once more with the states that the first strong policy gets into (Ross et al., DAgger, AISTATS 2011).
aegis demonstrate --out "$data/after-strong.safetensors" --seed 4 --rate 0.01 --learner "$data/strong-first.toml"
train strong --data "$data"/{demonstrations,disturbed,after-weak,after-strong}.safetensors --out "$models/strong"

# Not over the probe that the shipped study has sealed: beside it, and then in its place.
aegis probe fit --out policies/models/fitted.json
mv policies/models/fitted.json policies/models/probe.json

# What they win, on starts that none of this has seen, into their cards.
aegis demo --episodes 400 --out "$data/confirmation"
"$python" policies/train/success.py --episodes "$data/confirmation/episodes.jsonl" --aegis target/release/aegis \
    --weak "$models/weak.toml" --strong "$models/strong.toml"

# Weak from two cameras and the robot's own state, with a probe of its own.
aegis demonstrate --out "$data/pictures.safetensors" --seed 1 --starts 50..80 --frames-every 5
train weak_vision --data "$data/pictures.safetensors" --out "$models/weak_vision"
aegis probe fit --plan experiments/vision.toml
aegis demo --plan experiments/vision.toml --episodes 100 --out "$data/vision"
"$python" policies/train/success.py --episodes "$data/vision/episodes.jsonl" --aegis target/release/aegis \
    --plan experiments/vision.toml --weak "$models/weak_vision.toml"
