"""Makes the policies of tests/ros2.rs, which drive three joints to a goal (needs the `onnx` package).

    python policies.py

`positions.onnx`: ten positions on the way from where the joints stand to the goal.
`velocities.onnx`: ten times the velocity that is proportional to the way.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GOAL = np.array([[0.4, -0.3, 0.2]], np.float32)


def save(name, shares, from_here):
    constants = {
        "goal": GOAL,
        "axis": np.array([1], np.int64),
        "shares": shares.reshape(1, 10, 1).astype(np.float32),
        "here": np.array([from_here], np.float32),
        "weights": np.linspace(-0.1, 0.1, 3 * 64, dtype=np.float32).reshape(3, 64),
    }
    nodes = [
        helper.make_node("Sub", ["goal", "state"], ["way"]),
        helper.make_node("Unsqueeze", ["way", "axis"], ["row"]),
        helper.make_node("Mul", ["row", "shares"], ["ways"]),
        helper.make_node("Mul", ["state", "here"], ["begin"]),
        helper.make_node("Unsqueeze", ["begin", "axis"], ["begins"]),
        helper.make_node("Add", ["ways", "begins"], ["actions"]),
        helper.make_node("MatMul", ["ways", "weights"], ["action_tokens"]),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 3])],
        [
            helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, 10, 3]),
            helper.make_tensor_value_info("action_tokens", TensorProto.FLOAT, [1, 10, 64]),
        ],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, f"{name}.onnx")


save("positions", np.minimum(1.0, 0.06 * np.arange(1, 11)), 1.0)
save("velocities", np.full(10, 0.8), 0.0)
