"""Times the shipped models on the ONNX Runtime host, and the same graphs in Python's onnxruntime and in PyTorch.

    cargo build --release -p aegis-policies --example provider_check
    python policies/bench_inference.py --library libonnxruntime.so.1.32.0 --out docs/evidence/inference.md

All run in turns on the same observations, one thread each, from an encoded observation in host memory to actions in
host memory. In the first round, every peer's actions are compared with the host's on the processor. The figures are
written between the two marks of the Markdown file; the rest stays. Exit codes: 0 done, 1 outputs differ or a run failed.
"""

import argparse
import json
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
MARKS = ("<!-- figures: written by policies/bench_inference.py -->", "<!-- end of figures -->")
# Largest allowed difference of actions, in units of the controller's range, −1 to 1. The order of float32 sums changes
# them by much less.
TOLERANCE = 1e-4
WARM_UP = 200
QUANTILES = (50, 90, 99, 99.9)


def graph_in_torch(path, device):
    """Builds the graph from PyTorch operators with the ONNX file's weights. Exits with an error for an unknown operator."""
    model = onnx.load(path)
    held = {
        one.name: torch.from_numpy(onnx.numpy_helper.to_array(one).copy()).to(device)
        for one in model.graph.initializer
    }
    functional = torch.nn.functional
    steps = []
    for node in model.graph.node:
        given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        match node.op_type:
            case "Gemm":
                assert given["transA"] == 0 and given["transB"] == 1 and given["alpha"] == given["beta"] == 1, given
                step = functional.linear
            case "LayerNormalization":
                def step(x, weight, bias, epsilon=given["epsilon"]):
                    return functional.layer_norm(x, weight.shape, weight, bias, epsilon)
            case "Gelu":
                assert given["approximate"] == b"none", given
                step = functional.gelu
            case "Reshape":
                shape = held.pop(node.input[1]).tolist()
                steps.append((lambda x, shape=shape: x.reshape(shape), [node.input[0]], node.output[0]))
                continue
            case "Sub" | "Div" | "Add" | "MatMul":
                step = {"Sub": torch.sub, "Div": torch.div, "Add": torch.add, "MatMul": torch.matmul}[node.op_type]
            case other:
                raise SystemExit(f"error: {path}: operator {other}: not known here")
        steps.append((step, list(node.input), node.output[0]))
    source = model.graph.input[0].name

    def run(observation):
        values = {**held, source: torch.from_numpy(observation).to(device)}
        for step, inputs, output in steps:
            values[output] = step(*[values[name] for name in inputs])
        return values["actions"].cpu().numpy()

    return run


def onnxruntime_in_python(path, provider):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    names = {
        "cpu": [],
        "cuda": [("CUDAExecutionProvider", {"use_tf32": "0"})],
        "tensorrt": ["TensorrtExecutionProvider", ("CUDAExecutionProvider", {"use_tf32": "0"})],
    }[provider]
    session = onnxruntime.InferenceSession(path, options, providers=[*names, "CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    # All outputs are fetched, as by the host: actions and, for a watched model, the activation.
    outputs = [one.name for one in session.get_outputs()]
    at = outputs.index("actions")
    return lambda observation: session.run(outputs, {source: observation})[at]


def timed(run, observations, count):
    times = np.empty(count)
    for index in range(count):
        observation = observations[index % len(observations)]
        begun = time.perf_counter()
        run(observation)
        times[index] = (time.perf_counter() - begun) * 1e6
    return times


def host(arguments, card, runs, folder):
    command = [arguments.binary, "--library", arguments.library, "--provider", arguments.provider]
    command += ["--card", card, "--runs", str(runs), "--dump", folder]
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{done.stderr.strip()}\nerror: {arguments.binary} ended with {done.returncode}")
    (row,) = json.loads(done.stdout)["models"]
    read = lambda name, kind: np.fromfile(folder / f"{card.stem}.{name}", dtype=kind)
    return row, read


def measure(arguments, card):
    """Returns times by name, and the largest difference of actions from the host's on the processor, by name."""
    onnx_file = card.with_suffix(".onnx")
    device = "cpu" if arguments.provider == "cpu" else "cuda"
    peers = {
        "onnxruntime in Python": onnxruntime_in_python(str(onnx_file), arguments.provider),
        "PyTorch, eager": torch.inference_mode()(graph_in_torch(onnx_file, device)),
    }
    times, apart = {}, {}
    runs = arguments.runs // arguments.rounds
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for turn in range(arguments.rounds):
            row, read = host(arguments, card, runs, folder)
            if arguments.provider != "cpu":
                times.setdefault("AEGIS, processor", []).append(read("cpu.f64", "<f8"))
            name = "AEGIS" if arguments.provider == "cpu" else f"AEGIS, {row['provider']}"
            times.setdefault(name, []).append(read("provider.f64", "<f8"))
            apart[name] = row["max_abs_action_difference"]
            if turn == 0:
                observations = read("observations.f32", "<f4").reshape(-1, 1, 88)
                actions = read("actions.f32", "<f4").reshape(len(observations), -1)
            for name, run in peers.items():
                if turn == 0:
                    found = np.stack([run(observation).ravel() for observation in observations])
                    apart[name] = float(np.abs(found - actions).max())
                timed(run, observations, WARM_UP)
                times.setdefault(name, []).append(timed(run, observations, runs))
    for name, difference in apart.items():
        if not difference <= TOLERANCE:
            raise SystemExit(f"error: {card}: {name}: actions differ by {difference:.1e}, beyond {TOLERANCE:.0e}")
    return times, apart


def table(card, times, apart):
    rounds = {name: [np.percentile(one, 50, method="inverted_cdf") for one in rows] for name, rows in times.items()}
    first = next(name for name in times if name.startswith("AEGIS") and name != "AEGIS, processor")
    lines = [
        f"### {card.stem}",
        "",
        "| | " + " | ".join(f"p{one:g}" for one in QUANTILES) + " | n | p50 / ours, same round | actions apart |",
        "|---" * (len(QUANTILES) + 4) + "|",
    ]
    for name, rows in times.items():
        whole = np.concatenate(rows)
        cells = [f"{np.percentile(whole, one, method='inverted_cdf'):,.1f}" for one in QUANTILES]
        ratios = np.array(rounds[name]) / np.array(rounds[first])
        ratio = "1" if name == first else f"{np.median(ratios):.2f} ({ratios.min():.2f}–{ratios.max():.2f})"
        cells += [f"{len(whole):,}", ratio, f"{apart[name]:.1e}" if name in apart else "0"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def processor():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(names)} cores"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", choices=["cpu", "cuda", "tensorrt"], default="cpu")
    parser.add_argument("--library", type=pathlib.Path, required=True, help="the ONNX Runtime library of the host")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/examples/provider_check")
    parser.add_argument("--card", type=pathlib.Path, action="append", help="a model's card; the shipped ones if left out")
    parser.add_argument("--runs", type=int, default=20000, help="timed inferences of each")
    parser.add_argument("--rounds", type=int, default=10, help="turns that they are spread over")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="Markdown with the two marks")
    arguments = parser.parse_args()
    if not 1 <= arguments.rounds <= arguments.runs:
        parser.error(f"--rounds: found {arguments.rounds}, valid is 1 to --runs")
    document = arguments.out.read_text(encoding="utf-8")
    if not all(document.count(mark) == 1 for mark in MARKS):
        parser.error(f"{arguments.out}: lacks the marks {MARKS}")
    if arguments.provider != "cpu":
        if not torch.cuda.is_available():
            print("error: PyTorch finds no CUDA device; `nvidia-smi` must list one", file=sys.stderr)
            return 3
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(1)
    where = processor()
    if arguments.provider != "cpu":
        where += f", {torch.cuda.get_device_name()}"
    version = arguments.library.name.partition(".so.")[2]
    lines = [
        f"On {where}: ONNX Runtime {version} under AEGIS, onnxruntime {onnxruntime.__version__} in Python, "
        f"PyTorch {torch.__version__}, Python {platform.python_version()}.",
        f"Microseconds; {arguments.rounds} rounds in turns.",
    ]
    load = pathlib.Path("/proc/loadavg")
    before = load.read_text(encoding="utf-8").split()[0] if load.exists() else "unknown"
    for card in arguments.card or [ROOT / "policies/models/weak.toml", ROOT / "policies/models/strong.toml"]:
        lines += ["", *table(card, *measure(arguments, card))]
    after = load.read_text(encoding="utf-8").split()[0] if load.exists() else "unknown"
    lines.insert(2, f"One-minute load {before} at the start, {after} at the end.")
    head, rest = document.split(MARKS[0])
    tail = rest.split(MARKS[1])[1]
    part = arguments.out.with_name(arguments.out.name + ".part")
    part.write_text(head + "\n\n".join([MARKS[0], "\n".join(lines), MARKS[1]]) + tail, encoding="utf-8")
    part.replace(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
