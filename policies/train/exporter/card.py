"""The card beside an exported model: inputs, outputs, tapped layer, measured differences and digests."""

import json
import platform
from importlib import metadata

from onnx_file import sha256

from .checkpoint import CONFIG, POSTPROCESSOR, PREPROCESSOR, WEIGHTS
from .graph import ACTIONS, ACTIVATION, NOISE
from .parity import TOLERANCE

PACKAGES = ("lerobot", "torch", "transformers", "onnx", "onnxscript", "onnxruntime")


def text(files, checkpoint, specs, shapes, tap, measured, tasks):
    """Returns the card as TOML.

    `shapes` are those of both outputs. `tap` is (layer, denoising step). `measured` is the result of the parity check.
    `tasks` are pairs of an instruction and its tokens, so that a host needs no tokenizer for these instructions.
    """
    config = checkpoint.config
    layer, tap_step = tap
    graph, *external = files
    lines = [
        f"# Written by policies/train/export_lerobot.py from a LeRobot {checkpoint.kind} checkpoint.",
        f"file = {json.dumps(graph.name)}",
        f'sha256 = "{sha256(graph)}"',
    ]
    for path in external:
        lines += table("[[external]]", file=path.name, sha256=sha256(path))
    for one in specs:
        lines += table("[[inputs]]", tensor=one.name, kind=one.kind, dtype=one.dtype, shape=list(one.shape))
    lines += table("[chunk]", tensor=ACTIONS, horizon=shapes[ACTIONS][1], width=shapes[ACTIONS][2])
    lines += table("[activation]", tensor=ACTIVATION, tokens=shapes[ACTIVATION][1], width=shapes[ACTIVATION][2])
    for instruction, read in tasks:
        lines += table("[[tasks]]", text=instruction, tokens=read)
    lines += table("[export]", policy=checkpoint.kind, layer=layer, execute=config.n_action_steps)
    if any(one.kind == "noise" for one in specs):
        lines += [f"denoising_steps = {config.num_steps}", f"tap_step = {tap_step}", f"noise = {json.dumps(NOISE)}"]
    if checkpoint.low_precision:
        lines.append(f"loaded_in = {json.dumps(checkpoint.low_precision)}")
    lines += [f"{name} = {json.dumps(metadata.version(name).split('+')[0])}" for name in PACKAGES]
    lines.append(f"python = {json.dumps(platform.python_version())}")
    lines += ["", "[export.parity]", f"tolerance = {TOLERANCE}"]
    for name, value in measured.items():
        lines.append(f"{name} = {value:.3g}" if isinstance(value, float) else f"{name} = {value}")
    for path in sorted(checkpoint.directory.iterdir()):
        kept = path.name in (CONFIG, WEIGHTS, PREPROCESSOR, POSTPROCESSOR) or path.name.startswith("policy_p")
        if path.is_file() and kept:
            lines += table("[[export.checkpoint]]", file=path.name, sha256=sha256(path))
    return "\n".join(lines) + "\n"


def table(head, **fields):
    """Returns the lines of one table. JSON's strings, numbers and arrays are valid TOML."""
    return ["", head, *(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())]
