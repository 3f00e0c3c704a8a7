"""Export a LeRobot ACT, SmolVLA or π0 checkpoint as one ONNX file with a named layer as a second output, and its card.

    python export_lerobot.py act --checkpoint DIR --out ../models/act
    python export_lerobot.py smolvla --checkpoint DIR --out ../models/smolvla --tap 8 --task "stack the cubes"

The graph reads raw observations and returns raw actions: normalisation, resizing and padding are part of it. SmolVLA
and π0 are one graph as well: the vision-language prefix is computed once, and the denoising steps over its keys and
values are unrolled after it. A host therefore runs one model once per chunk and needs no cache. Noise is an input; with
the same noise the actions are the same. The tap is the layer in the last denoising step, or in the step given by
--tap-step.

With one --task the instruction's tokens are in the card; with none or several the tokenizer is written beside it. Files
are written only if ONNX Runtime agrees with the policy. `docs/guide/lerobot-export.md` is the manual.
"""

import argparse
import logging
import os
import sys
import tempfile
import warnings
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

import onnx_file
from exporter import ExportError


def size(value):
    """Parses a size such as `480x640` into (rows, columns)."""
    try:
        rows, columns = (int(one) for one in value.split("x"))
        if rows < 1 or columns < 1:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {value!r}; valid is ROWSxCOLUMNS, as 480x640") from None
    return rows, columns


def parse(arguments):
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", choices=("act", "smolvla", "pi0"))
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR", help="what `save_pretrained` wrote")
    parser.add_argument("--out", type=Path, required=True, help="path of the model without its suffix")
    parser.add_argument("--tap", metavar="LAYER", help="name or number of the layer; a wrong one lists the valid ones")
    parser.add_argument("--tap-step", type=int, metavar="K", help="denoising step of the tap, from 0; default the last")
    parser.add_argument("--steps", type=int, metavar="N", help="denoising steps instead of the checkpoint's")
    parser.add_argument("--vlm", type=Path, metavar="DIR", help="config and tokenizer of the backbone; pi0: tokenizer")
    parser.add_argument("--image-size", type=size, metavar="RxC", help="of the cameras, where the config differs")
    parser.add_argument("--task", action="append", default=[], help="instruction for the check and the card")
    parser.add_argument(
        "--read",
        action="append",
        default=[],
        metavar="NAME=FEATURES",
        help="what an input is filled with: features in their order, each with :axis_angle, :rotation_6d, "
        ":relative_to=FEATURE or :one_hot=CLASSES where it is changed, as observation.state=eef_position,"
        "eef_quaternion:axis_angle; for an image the camera, with :180 or :flip, as "
        "observation.images.image=agentview:flip; default the input's own name",
    )
    parser.add_argument(
        "--dataset",
        type=Path,
        metavar="DIR",
        help="data set of lerobot_dataset.py that the policy was trained on, which says what inputs without --read are "
        "filled with",
    )
    return parser.parse_args(arguments)


def export(arguments):
    """Loads, traces, checks and writes a policy. Returns the card's path, the tapped layer and the measured differences."""
    # These imports take some seconds, so they come after the command line has been checked.
    import torch
    from exporter import openpi

    torch.set_num_threads(1)
    with openpi.supplied() if arguments.policy == "pi0" else nullcontext():
        return exported(arguments)


def exported(arguments):
    """Does the same, with the routines in place that the policy needs."""
    from exporter import card, checkpoint, graph, instructions, parity, taps

    loaded = checkpoint.load(arguments.policy, arguments.checkpoint, arguments.vlm, arguments.steps)
    if arguments.policy == "act" and arguments.task:
        raise ExportError("--task: found one; valid is none, for act reads no instruction")
    layer = taps.resolve(loaded, arguments.tap)
    tap_step = denoising_step(loaded, arguments.tap_step)
    specs = graph.inputs(loaded, arguments.image_size)
    reads = dict(card.parse_read(one, specs) for one in arguments.read)
    if arguments.dataset:
        reads = dataset_reads(arguments.dataset, [one for one in specs if one.name not in reads]) | reads
    drawn = parity.samples(loaded, specs, arguments.task)
    measured = {"samples": len(drawn)}
    if loaded.low_precision:
        as_loaded = [parity.reference(loaded, layer, tap_step, one) for one in drawn]
    loaded.policy.float()
    if loaded.low_precision:
        measured |= parity.precision(as_loaded, [parity.reference(loaded, layer, tap_step, one) for one in drawn])
    program = graph.program(loaded, specs, layer, tap_step, drawn)

    out = arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as scratch:
        written = Path(scratch) / out.name
        files = onnx_file.save(program, written.with_name(f"{out.name}.onnx"))
        measured |= parity.check(files[0], loaded, layer, tap_step, drawn)
        shapes = {name: value.shape for name, value in parity.reference(loaded, layer, tap_step, drawn[0]).items()}
        tasks = [(task, parity.instruction(loaded, drawn[0].batch, task)) for task in arguments.task]
        tokens = None
        if loaded.reads_instruction and len(tasks) != 1:
            checked = tasks or [(task, parity.instruction(loaded, drawn[0].batch, task)) for task in parity.TASKS]
            tokens = instructions.write(loaded, written.with_name(f"{out.name}.tokenizer.json"), checked)
        written_card = written.with_name(f"{out.name}.toml")
        text = card.text(files, loaded, specs, shapes, (layer, tap_step), measured, tasks, tokens, reads)
        written_card.write_text(text, encoding="utf-8")
        # The card is moved last, as the other files are a model only with a card.
        for path in (*([tokens.path] if tokens else []), *reversed(files), written_card):
            os.replace(path, out.parent / path.name)
    return out.parent / written_card.name, layer, measured


def dataset_reads(dataset, specs):
    """Returns the plant's features of each input, from a data set's record of sources."""
    from exporter import card, checkpoint

    path = dataset / "meta/aegis.json"
    found = checkpoint.read_json(path).get("reads")
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        valid = "features by the name of an input, as lerobot_dataset.py writes them"
        raise ExportError(f"{path}: reads: found {found!r:.200}; valid is {valid}")
    inputs = [one.name for one in specs if one.kind in ("image", "state", "environment")]
    if missing := [name for name in inputs if name not in found]:
        raise ExportError(f"{path}: reads: found none for the input {missing[0]}; it has {', '.join(found) or 'none'}")
    try:
        return dict(card.parse_read(f"{name}={found[name]}", specs) for name in inputs)
    except ExportError as error:
        raise ExportError(f"{path}: reads: {error}") from error


def denoising_step(loaded, found):
    """Returns the denoising step whose pass through the layer is tapped, counted from 0."""
    if not loaded.reads_instruction:
        if found is not None:
            raise ExportError(f"--tap-step: found {found}; valid is none, for {loaded.kind} has no denoising steps")
        return 0
    last = loaded.steps - 1
    if found is not None and not 0 <= found <= last:
        raise ExportError(f"--tap-step: found {found}; valid is 0 to {last}")
    return last if found is None else found


def main(arguments=None):
    """Returns the exit code: 0 done; 1 the graph differs from the policy or cannot be written; 2 bad arguments or checkpoint."""
    parsed = parse(arguments)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    try:
        # LeRobot prints while loading; scripts read only this program's own lines on standard output.
        with redirect_stdout(sys.stderr):
            path, layer, measured = export(parsed)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"error: --out: {error}", file=sys.stderr)
        return 1
    print(f"{path}: tap {layer}")
    for name, value in measured.items():
        print(f"  {name} {value:.1e}" if isinstance(value, float) else f"  {name} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
