"""Writes exported ONNX files so that their bytes depend only on the model, and computes their digests."""

import hashlib
from pathlib import Path

import onnx
from onnx_ir.passes import common
from onnxscript import optimizer, rewriter

# Largest size in bytes of weights inside the file. A protobuf message is limited to 2 GiB, including the graph.
LIMIT = 2_000_000_000
# Largest number of elements of a tensor that the exporter's constant folding may have copied.
FOLDED = 2**18
# SlicesSplit replaces two nodes at once. At every node, whatever its kind, onnxscript's matcher lists all nodes of the
# graph for such a rule, so that the time grows with the square of their number. The other rules replace one node each.
RULES = [rule for rule in rewriter._DEFAULT_REWRITE_RULES if rule.name != "SlicesSplit"]


def strip(path):
    """Removes the exporter's notes. They contain stack traces, so the digest would depend on the exporter's path."""
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    functions = [part for one in model.functions for part in (one, *one.node, *one.value_info)]
    for owner in (model, graph, *graph.node, *values, *functions):
        owner.ClearField("metadata_props")
        owner.ClearField("doc_string")
    onnx.save(model, path)


def tidy(model):
    """Folds constants, applies onnxscript's rewriting rules, and merges equal initializers and equal subexpressions.

    These are the steps of onnxscript's own optimiser without one rule, which keeps it from ending on an unrolled policy
    (see RULES).
    """
    for _ in range(2):
        optimizer.fold_constants(model)
        rewriter.rewrite(model, RULES)
    for step in (
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        # Folding copied each small weight once per unrolled step that reads it; large weights are already shared.
        common.DeduplicateInitializersPass(size_limit=FOLDED),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedOpsetsPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    ):
        step(model)


def save(program, path):
    """Writes torch's ONNX program. Weights are inside the file, or in `NAME.onnx.data` beside it if they exceed LIMIT.
    Returns the files, the graph first.
    """
    tidy(program.model)
    weights = sum(value.const_value.nbytes for value in program.model.graph.initializers.values())
    program.save(str(path), external_data=weights > LIMIT)
    strip(path)
    data = Path(f"{path}.data")
    return [path, data] if data.exists() else [path]


def sha256(path):
    """Returns SHA-256 of a file, lower-case hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
