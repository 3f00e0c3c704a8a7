#!/usr/bin/env bash
# Runs the shipped models on an NVIDIA GPU: answers against the processor's, times beside PyTorch's on the same card.
#
#     policies/check_cuda.sh [--provider cuda|tensorrt]
#
# Needs the GPU's driver and Python 3.11. Packages (about 5 GB) go into AEGIS_CACHE, pinned by requirements-cuda.txt;
# the figures go into docs/reference/cuda.md. Exit codes: 0 done, 1 answers differ or a run failed, 2 bad arguments, 3 no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."

provider=cuda
if [ $# -gt 0 ]; then
    if [ $# -ne 2 ] || [ "$1" != --provider ] || { [ "$2" != cuda ] && [ "$2" != tensorrt ]; }; then
        echo "error: found arguments '$*'; valid is --provider cuda or --provider tensorrt" >&2
        exit 2
    fi
    provider=$2
fi
if [ ! -d /proc/driver/nvidia/gpus ] && ! nvidia-smi -L > /dev/null 2>&1; then
    echo "error: no NVIDIA GPU with a driver: /proc/driver/nvidia/gpus is not there and nvidia-smi lists none;" \
        "run this on a machine with one (the models run on the processor without)" >&2
    exit 3
fi

cache=${AEGIS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/aegis}
pins=policies/requirements-cuda.txt
venv=$cache/python/$provider-$(sha256sum "$pins" | cut -c1-16)
if [ ! -e "$venv/complete" ]; then
    rm -rf "$venv"
    "${AEGIS_PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/pip" install --no-input --disable-pip-version-check --progress-bar=off -r "$pins"
    if [ "$provider" = tensorrt ]; then
        "$venv/bin/pip" install --no-input --disable-pip-version-check --progress-bar=off tensorrt==10.16.1.11
    fi
    touch "$venv/complete"
fi
cargo build --release --locked -p aegis-policies --example provider_check

site=$(echo "$venv"/lib/python3*/site-packages)
library=$(echo "$site"/onnxruntime/capi/libonnxruntime.so.*)
# The library finds CUDA's through the loader's path.
folders=$(printf '%s:' "$site"/nvidia/*/lib "$site"/tensorrt_libs)
export LD_LIBRARY_PATH="$folders${LD_LIBRARY_PATH:-}"
# TensorRT has no setting of its own against TF32.
export NVIDIA_TF32_OVERRIDE=0

"$venv/bin/python" policies/bench_inference.py --provider "$provider" --library "$library" --out docs/reference/cuda.md
