"""The exporter's optimiser: what it removes, and that its work grows with the number of nodes and not its square."""

import unittest
from unittest import mock

import harness  # noqa: F401, which sets the path of the modules
import numpy as np
import onnx_ir as ir
import onnxruntime
from onnxscript import rewriter

import onnx_file


def model(count):
    """Returns `count` links, each of which adds a folded constant, casts to the type that it has, and cuts a slice."""
    value = first = ir.val("read", ir.DataType.FLOAT, (8,))
    nodes, held = [], {}

    def constant(array):
        tensor = ir.tensor(array, name=f"constant_{len(held)}")
        held[tensor.name] = ir.val(tensor.name, tensor.dtype, tensor.shape, const_value=tensor)
        return held[tensor.name]

    def node(kind, inputs, attributes=None):
        made = ir.node(kind, inputs, attributes)
        made.outputs[0].name = f"value_{len(nodes)}"
        made.outputs[0].type, made.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape((8,))
        nodes.append(made)
        return made.outputs[0]

    start, stop = constant(np.array([0])), constant(np.array([8]))
    for index in range(count):
        one = constant(np.full(8, index, np.float32))
        value = node("Add", [value, node("Neg", [one])])
        value = node("Cast", [value], {"to": ir.DataType.FLOAT.value})
        value = node("Sin", [node("Slice", [value, start, stop])])
    value.name = "found"
    graph = ir.Graph([first], [value], nodes=nodes, initializers=list(held.values()), opset_imports={"": 18}, name="g")
    return ir.Model(graph, ir_version=10)


def visited(count):
    """Returns how often a node is listed while a graph of `count` links is optimised."""
    listed, iterate = 0, ir.Graph.__iter__

    def counted(self):
        nonlocal listed
        for one in iterate(self):
            listed += 1
            yield one

    made = model(count)
    with mock.patch.object(ir.Graph, "__iter__", counted):
        onnx_file.tidy(made)
    return listed


def run(made, read):
    data = ir.to_proto(made).SerializeToString()
    opened = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return opened.run(None, {"read": read})[0]


class Tidy(unittest.TestCase):
    def test_constants_and_casts_without_effect_go_and_the_result_stays(self):
        read = np.linspace(-1, 1, 8, dtype=np.float32)
        made = model(5)
        before = run(made, read)
        onnx_file.tidy(made)
        self.assertEqual([one.op_type for one in made.graph], ["Add", "Slice", "Sin"] * 5)
        self.assertTrue((run(made, read) == before).all())

    def test_the_work_grows_with_the_number_of_nodes(self):
        visited(10)
        short, long = visited(100), visited(200)
        self.assertLess(long, 2.2 * short)

    def test_one_rule_is_left_out(self):
        self.assertEqual(len(onnx_file.RULES), len(rewriter._DEFAULT_REWRITE_RULES) - 1)


if __name__ == "__main__":
    unittest.main()
