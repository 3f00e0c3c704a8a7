"""An exported ONNX file on disk: written so that its bytes depend on the model alone, and its digest."""

import hashlib
from pathlib import Path

import onnx
from onnx_ir.passes import common
from onnxscript import optimizer

# A protobuf message ends at 2 GiB; the rest of the graph needs room beside the weights.
LIMIT = 2_000_000_000
# Elements of the largest tensor that the exporter's constant folding may have copied.
FOLDED = 2**18


def strip(path):
    """Drop the exporter's notes: they hold stack traces, so the digest would depend on where the exporter lies."""
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    functions = [part for one in model.functions for part in (one, *one.node, *one.value_info)]
    for owner in (model, graph, *graph.node, *values, *functions):
        owner.ClearField("metadata_props")
        owner.ClearField("doc_string")
    onnx.save(model, path)


def tidy(model):
    """Folds constants, and computes and stores once what is the same.

    It stands in for the exporter's own optimiser, whose rewriting takes time with the square of the nodes: minutes for a
    few thousand, and no end in sight for an unrolled policy of full size. ONNX Runtime rewrites for itself when it loads.
    """
    optimizer.fold_constants(model)
    for step in (
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        # A small weight that every unrolled step reads has been folded into one copy per step; the large are shared.
        common.DeduplicateInitializersPass(size_limit=FOLDED),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedOpsetsPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    ):
        step(model)


def save(program, path):
    """Writes torch's ONNX program with its weights inside, or beside it in `NAME.onnx.data` where they are too many;
    returns the files, the graph first.
    """
    tidy(program.model)
    weights = sum(value.const_value.nbytes for value in program.model.graph.initializers.values())
    program.save(str(path), external_data=weights > LIMIT)
    strip(path)
    data = Path(f"{path}.data")
    return [path, data] if data.exists() else [path]


def sha256(path):
    """SHA-256 of a file, lower-case hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
