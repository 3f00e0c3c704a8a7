"""The card beside an exported model: inputs, outputs, tapped layer, measured differences and digests."""

import json
import platform
from importlib import metadata

from onnx_file import sha256

from . import ExportError
from .checkpoint import CONFIG, POSTPROCESSOR, PREPROCESSOR, WEIGHTS
from .graph import ACTIONS, ACTIVATION, NOISE
from .parity import TOLERANCE

PACKAGES = ("lerobot", "torch", "transformers", "onnx", "onnxscript", "onnxruntime")


# Rotations that a term may be written in; the names are those of docs/reference/policies.md.
TRANSFORMS = ("axis_angle", "rotation_6d")


def text(files, checkpoint, specs, shapes, tap, measured, tasks, reads):
    """Returns the card as TOML, in the form of docs/reference/policies.md.

    `shapes` are those of both outputs. `tap` is (layer, denoising step). `measured` is the result of the parity check.
    `tasks` are pairs of an instruction and its tokens. With one, the inputs of tokens are constants, for a host without a
    tokenizer. `reads` says by the name of an input what of the plant it is filled with.
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
        lines += table("[[inputs]]", tensor=one.name, **filled(one, tasks, reads.get(one.name)))
    horizon, width = shapes[ACTIONS][1:]
    lines += table("[chunk]", tensor=ACTIONS, horizon=horizon, width=width, execute=config.n_action_steps)
    lines += table("[activation]", tensor=ACTIVATION, tokens=shapes[ACTIVATION][1], width=shapes[ACTIVATION][2])
    lines += table("[export]", policy=checkpoint.kind, layer=layer)
    if any(one.kind == "noise" for one in specs):
        lines += [f"denoising_steps = {config.num_steps}", f"tap_step = {tap_step}", f"noise = {json.dumps(NOISE)}"]
    if checkpoint.low_precision:
        lines.append(f"loaded_in = {json.dumps(checkpoint.low_precision)}")
    lines += [f"{name} = {json.dumps(metadata.version(name).split('+')[0])}" for name in PACKAGES]
    lines.append(f"python = {json.dumps(platform.python_version())}")
    lines += ["", "[export.parity]", f"tolerance = {TOLERANCE}"]
    for name, value in measured.items():
        lines.append(f"{name} = {value:.3g}" if isinstance(value, float) else f"{name} = {value}")
    for instruction, read in tasks:
        lines += table("[[export.tasks]]", text=instruction, tokens=read)
    for path in sorted(checkpoint.directory.iterdir()):
        kept = path.name in (CONFIG, WEIGHTS, PREPROCESSOR, POSTPROCESSOR) or path.name.startswith("policy_p")
        if path.is_file() and kept:
            lines += table("[[export.checkpoint]]", file=path.name, sha256=sha256(path))
    return "\n".join(lines) + "\n"


def filled(spec, tasks, read):
    """Returns the fields of an input beside its tensor. `read` is what the option --read gives for it, or None."""
    if spec.kind == "image":
        camera, turn = read or (spec.name.rsplit(".", 1)[-1], None)
        rotate = {"rotate": int(turn)} if turn else {}
        return {"kind": "image", "camera": camera, "height": spec.shape[2], "width": spec.shape[3], "layout": "chw", **rotate}
    if spec.kind in ("tokens", "mask"):
        if len(tasks) != 1:
            return {"kind": spec.kind}
        tokens, length = tasks[0][1], spec.shape[1]
        values = tokens if spec.kind == "tokens" else [1] * len(tokens)
        # The padding is hidden by the mask, so its value does not matter.
        return {"kind": "constant", "value": values + [0] * (length - len(values))}
    if spec.kind == "noise":
        return {"kind": "noise"}
    terms = [
        {"feature": feature, **({"transform": transform} if transform else {})}
        for feature, transform in (read or [(spec.name, None)])
    ]
    return {"kind": "vector", "terms": terms}


def parse_read(text, specs):
    """Parses `NAME=FEATURE[:TRANSFORM],…`, or for an image `NAME=CAMERA[:180]`. Returns the name and what it is filled with.

    Raises `ExportError` for an input that the graph lacks, an unknown transform or another turn.
    """
    name, _, given = text.partition("=")
    kinds = {one.name: one.kind for one in specs if one.kind in ("image", "state", "environment")}
    if name not in kinds or not given:
        raise ExportError(f"--read: found {text!r}; valid is NAME=FEATURES with NAME one of {', '.join(kinds)}")
    parts = [tuple(one.strip() or None for one in part.partition(":")[::2]) for part in given.split(",")]
    valid = ("180", "0") if kinds[name] == "image" else TRANSFORMS
    wrong = [part for part, more in parts if part is None or (more is not None and more not in valid)]
    if wrong or (kinds[name] == "image" and len(parts) != 1):
        what = "one camera, with :180 if turned" if kinds[name] == "image" else f"features, with :{' or :'.join(valid)}"
        raise ExportError(f"--read: found {text!r}; valid after {name}= are {what}")
    return name, parts[0] if kinds[name] == "image" else parts


def table(head, **fields):
    """Returns the lines of one table."""
    return ["", head, *(f"{name} = {inline(value)}" for name, value in fields.items())]


def inline(value):
    """Returns a value as TOML on one line. JSON's strings, numbers and arrays of them are valid TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {inline(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(inline(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)
