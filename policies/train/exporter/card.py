"""The card beside an exported model: inputs, outputs, tapped layer, measured differences and digests."""

import json
import platform
from importlib import metadata

from lerobot.utils.constants import OBS_LANGUAGE_TOKENS
from onnx_file import sha256

from . import ExportError
from .checkpoint import CONFIG, POSTPROCESSOR, PREPROCESSOR, WEIGHTS
from .graph import ACTIONS, ACTIVATION, NOISE
from .parity import TOLERANCE

PACKAGES = ("lerobot", "torch", "transformers", "onnx", "onnxscript", "onnxruntime")


# What may follow a feature or a camera in --read: the field that it sets, and the value. docs/reference/policies.md has
# the fields.
TERM_CHANGES = {
    "axis_angle": ("transform", lambda _: "axis_angle"),
    "rotation_6d": ("transform", lambda _: "rotation_6d"),
    "relative_to=": ("relative_to", str),
    "one_hot=": ("one_hot", lambda text: classes(text)),
}
IMAGE_CHANGES = {
    "0": ("rotate", lambda _: 0),
    "180": ("rotate", lambda _: 180),
    "flip": ("flip", lambda _: True),
}
WITH = "with :axis_angle, :rotation_6d, :relative_to=FEATURE or :one_hot=CLASSES"


def text(files, checkpoint, specs, shapes, tap, measured, tasks, tokens, reads):
    """Returns the card as TOML, in the form of docs/reference/policies.md.

    `shapes` are those of both outputs. `tap` is (layer, denoising step). `measured` is the result of the parity check.
    `tasks` are pairs of an instruction and its tokens. `tokens` is how a host tokenizes an instruction; None where one
    task makes tokens and mask constants, and where the policy reads no instruction. `reads` says by the name of an
    input what of the plant it is filled with.
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
        lines += table("[[inputs]]", tensor=one.name, **filled(one, tasks, tokens, reads.get(one.name)))
    horizon, width = shapes[ACTIONS][1:]
    lines += table("[chunk]", tensor=ACTIONS, horizon=horizon, width=width, execute=config.n_action_steps)
    lines += table("[activation]", tensor=ACTIVATION, tokens=shapes[ACTIVATION][1], width=shapes[ACTIVATION][2])
    lines += table("[export]", policy=checkpoint.kind, layer=layer)
    if any(one.kind == "noise" for one in specs):
        lines += [f"denoising_steps = {checkpoint.steps}", f"tap_step = {tap_step}", f"noise = {json.dumps(NOISE)}"]
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


def filled(spec, tasks, tokens, read):
    """Returns the fields of an input beside its tensor. `read` is what the option --read gives for it, or None."""
    if spec.kind == "image":
        camera, turned = read or (spec.name.rsplit(".", 1)[-1], {})
        size = {"height": spec.shape[2], "width": spec.shape[3]}
        return {"kind": "image", "camera": camera, **size, "layout": "chw", **turned}
    if spec.kind == "tokens" and tokens:
        return {"kind": "tokens", **tokens.fields}
    if spec.kind == "mask" and tokens:
        return {"kind": "mask", "of": OBS_LANGUAGE_TOKENS}
    if spec.kind in ("tokens", "mask"):
        ids, length = tasks[0][1], spec.shape[1]
        values = ids if spec.kind == "tokens" else [1] * len(ids)
        # The padding is hidden by the mask, so its value does not matter.
        return {"kind": "constant", "value": values + [0] * (length - len(values))}
    if spec.kind == "noise":
        return {"kind": "noise"}
    return {"kind": "vector", "terms": read or [{"feature": spec.name}]}


def parse_read(text, specs):
    """Parses `NAME=FEATURE[:CHANGE]…,…`, or for an image `NAME=CAMERA[:180][:flip]`. Returns the name, and the terms of
    a vector or camera and changes of an image.

    Raises `ExportError` for an input that the graph lacks, and for an unknown change or one that is given twice.
    """
    name, _, given = text.partition("=")
    kinds = {one.name: one.kind for one in specs if one.kind in ("image", "state", "environment")}
    if name not in kinds or not given:
        raise ExportError(f"--read: found {text!r}; valid is NAME=FEATURES with NAME one of {', '.join(kinds)}")
    is_image = kinds[name] == "image"
    try:
        terms = [changed(part.strip(), IMAGE_CHANGES if is_image else TERM_CHANGES) for part in given.split(",")]
        if is_image and len(terms) != 1:
            raise ValueError
    except ValueError:
        valid = "one camera, with :180 if turned and :flip if mirrored" if is_image else f"features, {WITH}"
        raise ExportError(f"--read: found {text!r}; valid after {name}= are {valid}") from None
    if is_image:
        return name, (terms[0].pop("feature"), terms[0])
    return name, terms


def changed(text, known):
    """Returns `FEATURE[:CHANGE]…` as the fields of the card. Raises ValueError for what is not known or not
    complete."""
    feature, *changes = (part.strip() for part in text.split(":"))
    fields = {"feature": feature}
    for change in changes:
        name, equals, value = change.partition("=")
        field, of = known[name + equals] if name + equals in known else (None, None)
        if field is None or field in fields or (equals and not value):
            raise ValueError(change)
        fields[field] = of(value)
    if not feature:
        raise ValueError(text)
    return fields


def classes(text):
    """Parses a number of classes, 1 or more."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


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
