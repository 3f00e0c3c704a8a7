#!/usr/bin/env bash
# Both Python modules in fresh environments, under the evaluators that they are made for: LeRobot's lerobot-eval with an ACT of
# LeRobot's own class, with and without pictures, alone and behind a reflex; and vla-eval's runner, server and client.
#
#   cargo xtask setup && sim_bridge/environments/evaluators.sh
#
# Downloads gigabytes of packages on its first run (PyTorch), and takes 20 minutes on two cores after that. OUT is its folder, PYTHON the
# Python that the environments are made with. Run it from the repository's root.
set -euo pipefail

out=${OUT:-runs/evaluators}
python=${PYTHON:-python3.11}
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
mkdir -p "$out"

step() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }

environment() { # folder, requirements…
    [ -x "$out/$1/bin/python" ] || "$python" -m venv "$out/$1"
    "$out/$1/bin/pip" install -q "${@:2}"
    "$out/$1/bin/pip" install -q ./controller/python ./sim_bridge/environments
}

step "vla-eval: its runner, its server and its client on native LIBERO"
environment vla vla-eval==0.8.0 scipy statsmodels
(cd "$out" && vla/bin/python ../../sim_bridge/environments/examples/vla_eval_policy.py)

step "statistics beside SciPy and statsmodels"
"$out/vla/bin/python" -m unittest controller/python/tests/test_statistics.py

step "the examples, in an environment that has nothing of this repository on its path"
environment lerobot -r policies/train/requirements-lerobot.txt
cp controller/python/examples/*.py sim_bridge/environments/examples/forks.py "$out"
for example in guard_in_a_loop paired_test probe_from_pytorch forks; do
    (cd "$out" && lerobot/bin/python "$example.py")
done

step "two ACTs with random weights, of poses and of pictures"
[ -d "$out/poses" ] || "$out/lerobot/bin/python" controller/python/tests/lerobot/random_act.py "$out/poses" "$out/poses_strong" "$out/pictures"

evaluate() { # name, policy, flags…
    rm -rf "${out:?}/$1"
    "$out/lerobot/bin/lerobot-eval" --policy.path="$2" --policy.device=cpu --output_dir="$out/$1" "${@:3}" \
        --reflex.discover_packages_path=aegis_reflex.lerobot --env.discover_packages_path=aegis_libero.lerobot \
        --env.type=aegis --env.task=libero_spatial --env.episode_length=20 --eval.n_episodes=2 --eval.batch_size=2 --seed=0 \
        --env.observation_height=64 --env.observation_width=64 >"$out/$1.log" 2>&1 || { tail -20 "$out/$1.log"; exit 1; }
    [ -s "$out/$1/eval_info.json" ]
}

step "tests of the reflex as a LeRobot policy"
"$out/lerobot/bin/python" -m unittest discover -s controller/python/tests/lerobot
step "lerobot-eval: poses"
evaluate poses_eval "$out/poses" --env.obs_type=environment_state_agent_pos
step "lerobot-eval: pictures"
evaluate pictures_eval "$out/pictures"
step "lerobot-eval: a reflex of two policies"
# Random weights seldom succeed by themselves, so the probe of this run tells nothing; that it is fitted, saved and asked is the point.
"$out/lerobot/bin/python" controller/python/tests/lerobot/random_act.py --reflex "$out/poses" "$out/poses_strong" "$out/reflex"
evaluate reflex_eval "$out/reflex" --env.obs_type=environment_state_agent_pos
step done
