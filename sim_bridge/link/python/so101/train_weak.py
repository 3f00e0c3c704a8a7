"""Trains the weak policy for `serve_so101.py` and writes it as ONNX with its card: `weak.onnx` and `weak.toml`.

    python train_weak.py --out DIR
    python train_weak.py --out DIR --judge 200    # also runs both policies, from starts that training has not seen
    MUJOCO_GL=egl python train_weak.py --out DIR --cameras    # a policy that also reads the pictures of both cameras

The maker's scripted controller gives 40 demonstrations, from initial states 0 to 39. A network of two hidden layers learns from them to
propose five actions at a time: mean squared error, Adam, fixed seeds, numpy alone. From so few demonstrations it misses the block
in many episodes, and drifts off what it has seen. With `--cameras` it reads, besides, both pictures averaged to 8 x 8 pixels; they make
it no better, and are there to drive a policy through the cameras of a robot.
"""

import argparse
import hashlib
import struct
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serve_so101 import PICTURE, So101
from serve_strong import HORIZON, Controller

SUITE = "so101_pick_place"  # Name of the suite in plans; the card states the starts of training by it.
DEMONSTRATIONS = range(40)
FRESH = 1000  # First initial state of those that policies are judged from.
STEPS = 100  # Control steps of an episode at the most.
HIDDEN, EPOCHS, BATCH, RATE, DECAY, SEED = 64, 200, 128, 1e-3, 1e-4, 1
# What the network reads, in this order: features of the plant, and positions relative to another one's.
TERMS = [
    ("joint_positions", None),
    ("joint_velocities", None),
    ("eef_position", None),
    ("object/block/position", "eef_position"),
    ("goal_position", "object/block/position"),
    ("gripper_command", None),
]
CAMERAS = ("front", "top")
POOL = 16  # Pixels of a picture's height and width that are averaged to one.
# The network's outputs are in -1 to 1; the gripper's command is in 0 to 1.
SCALE, OFFSET = np.array([1.0, 1.0, 1.0, 0.5]), np.array([0.0, 0.0, 0.0, 0.5])


def encoded(values: dict, frames: list) -> np.ndarray:
    """Returns what the network reads of an observation and its pictures, float32."""
    parts = [np.asarray(values[name]) - (values[other] if other else 0.0) for name, other in TERMS]
    return np.concatenate([*parts, *(pooled(frame["rgb"]) for frame in frames)]).astype(np.float32)


def pooled(rgb: bytes) -> np.ndarray:
    """Returns a picture averaged over squares of `POOL` pixels, 0 to 1, flat `[3, rows, columns]`, as the graph does it."""
    picture = np.frombuffer(rgb, np.uint8).reshape(PICTURE, PICTURE, 3) / 255.0
    cells = PICTURE // POOL
    return picture.reshape(cells, POOL, cells, POOL, 3).mean((1, 3)).transpose(2, 0, 1).ravel()


def scripted(values: dict) -> np.ndarray:
    """Returns the next action of the maker's controller, begun in the phase that the observation shows."""
    return Controller(values).next(values)


def demonstrated(plant: So101) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs `[rows, features]` and chunks `[rows, HORIZON * 4]` of the demonstrations. A chunk that reaches beyond the end of
    its episode repeats the last action."""
    inputs, chunks = [], []
    for start in DEMONSTRATIONS:
        values, done, actions = plant.reset(0, start)["values"], False, []
        while not done and len(actions) < STEPS:
            inputs.append(encoded(values, plant.frames()))
            actions.append((scripted(values) - OFFSET) / SCALE)
            observation, done = plant.step(actions[-1] * SCALE + OFFSET)
            values = observation["values"]
        padded = np.array(actions + actions[-1:] * HORIZON)
        chunks += [padded[row : row + HORIZON].ravel() for row in range(len(actions))]
    return np.array(inputs), np.array(chunks)


def layers(weights: list, states: np.ndarray) -> list:
    """Returns the values of every layer, the network's outputs last."""
    found = [states]
    for weight, bias in zip(weights[::2], weights[1::2]):
        found.append(np.tanh(found[-1] @ weight + bias))
    return found


def trained(inputs: np.ndarray, chunks: np.ndarray) -> tuple[np.ndarray, np.ndarray, list]:
    """Returns mean and deviation of the inputs, and the weights: a matrix and a vector for each layer."""
    draw = np.random.default_rng(SEED)
    mean, deviation = inputs.mean(0, dtype=np.float64), inputs.std(0, dtype=np.float64) + 1e-3
    states = (inputs - mean) / deviation
    sizes = [inputs.shape[1], HIDDEN, HIDDEN, chunks.shape[1]]
    weights = []
    for rows, columns in zip(sizes, sizes[1:]):
        weights += [draw.normal(0.0, rows**-0.5, (rows, columns)), np.zeros(columns)]
    first, second = [np.zeros_like(one) for one in weights], [np.zeros_like(one) for one in weights]
    batches = len(states) // BATCH
    for step in range(EPOCHS * batches):
        if step % batches == 0:
            order = draw.permutation(len(states))[: batches * BATCH].reshape(batches, BATCH)
        rows = order[step % batches]
        rate = RATE * 0.5 * (1 + np.cos(np.pi * step / (EPOCHS * batches)))
        for index, slope in enumerate(slopes(weights, states[rows], chunks[rows])):
            first[index] = 0.9 * first[index] + 0.1 * slope
            second[index] = 0.999 * second[index] + 0.001 * slope**2
            adam = first[index] / (1 - 0.9 ** (step + 1)) / (np.sqrt(second[index] / (1 - 0.999 ** (step + 1))) + 1e-8)
            weights[index] -= rate * (adam + (DECAY * weights[index] if index % 2 == 0 else 0.0))
    return mean, deviation, weights


def slopes(weights: list, states: np.ndarray, chunks: np.ndarray) -> list:
    """Returns the derivative of the mean squared error for each matrix and vector."""
    found = layers(weights, states)
    slope, out = 2 * (found[-1] - chunks) / chunks.size * (1 - found[-1] ** 2), []
    for layer in reversed(range(len(weights) // 2)):
        out = [found[layer].T @ slope, slope.sum(0), *out]
        slope = slope @ weights[2 * layer].T * (1 - found[layer] ** 2)
    return out


def pooling(cameras: tuple) -> list:
    """Returns the nodes that average each camera's picture and put the pictures behind the state."""
    nodes = []
    for name in cameras:
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_float", "unit"], [f"{name}_unit"]),
            helper.make_node("Transpose", [f"{name}_unit"], [f"{name}_chw"], perm=[0, 3, 1, 2]),
            helper.make_node("AveragePool", [f"{name}_chw"], [f"{name}_cells"], kernel_shape=[POOL, POOL], strides=[POOL, POOL]),
            helper.make_node("Flatten", [f"{name}_cells"], [f"{name}_flat"]),
        ]
    return [*nodes, helper.make_node("Concat", ["state", *(f"{name}_flat" for name in cameras)], ["read"], axis=1)]


def written(out: Path, mean: np.ndarray, deviation: np.ndarray, weights: list, cameras: tuple) -> None:
    """Writes the network, with normalisation and the actions' scale in it, and its card."""
    constants = {"mean": mean, "deviation": deviation, "scale": SCALE, "offset": OFFSET}
    constants |= {f"w{layer}": weights[2 * layer] for layer in range(3)} | {f"b{layer}": weights[2 * layer + 1] for layer in range(3)}
    read = "read" if cameras else "state"
    nodes = [helper.make_node("Sub", [read, "mean"], ["centred"]), helper.make_node("Div", ["centred", "deviation"], ["h0"])]
    if cameras:
        nodes, constants["unit"] = pooling(cameras) + nodes, np.array([1 / 255])
    for layer in range(3):
        nodes.append(helper.make_node("Gemm", [f"h{layer}", f"w{layer}", f"b{layer}"], [f"a{layer}"]))
        nodes.append(helper.make_node("Tanh", [f"a{layer}"], ["hidden" if layer == 1 else f"h{layer + 1}"]))
        if layer == 1:
            nodes.append(helper.make_node("Identity", ["hidden"], ["h2"]))
    shape = np.array([1, HORIZON, len(SCALE)], dtype=np.int64)
    nodes += [
        helper.make_node("Reshape", ["h3", "shape"], ["chunk"]),
        helper.make_node("Mul", ["chunk", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["actions"]),
    ]
    initial = [numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()]
    initial.append(numpy_helper.from_array(shape, "shape"))
    sized = lambda name, *sizes: helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)  # noqa: E731
    pictures = [helper.make_tensor_value_info(name, TensorProto.UINT8, [1, PICTURE, PICTURE, 3]) for name in cameras]
    state = sized("state", 1, len(mean) - len(cameras) * 3 * (PICTURE // POOL) ** 2)
    outputs = [sized("actions", 1, HORIZON, len(SCALE)), sized("hidden", 1, HIDDEN)]
    graph = helper.make_graph(nodes, "weak", [state, *pictures], outputs, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    data = model.SerializeToString(deterministic=True)
    (out / "weak.onnx").write_bytes(data)
    # Task, initial state and replicate of each demonstration, as docs/guide/experiment.md has the digest of starts.
    starts = b"".join(struct.pack("<3Q", 0, start, 0) for start in DEMONSTRATIONS)
    digest = hashlib.sha256(b"aegis-starts-v1" + starts).hexdigest()
    relative = lambda other: f', relative_to = "{other}"' if other else ""  # noqa: E731
    terms = "".join(f'    {{ feature = "{name}"{relative(other)} }},\n' for name, other in TERMS)
    images = "".join(
        f'[[inputs]]\ntensor = "{name}"\nkind = "image"\ncamera = "{name}"\nheight = {PICTURE}\nwidth = {PICTURE}\nlayout = "hwc"\n\n'
        for name in cameras
    )
    (out / "weak.toml").write_text(
        f'# Written by train_weak.py.\nfile = "weak.onnx"\nsha256 = "{hashlib.sha256(data).hexdigest()}"\n\n'
        f'[[inputs]]\ntensor = "state"\nkind = "vector"\nterms = [\n{terms}]\n\n'
        f'{images}[chunk]\ntensor = "actions"\nhorizon = {HORIZON}\nwidth = {len(SCALE)}\n'
        'names = ["delta_x", "delta_y", "delta_z", "gripper"]\n\n'
        f'[activation]\ntensor = "hidden"\ntokens = 1\nwidth = {HIDDEN}\n\n'
        f'[[training.data]]\nfile = "demonstrations"\norigin.suite = "{SUITE}"\norigin.master_seed = 0\n'
        f"origin.starts.tasks = [0]\norigin.starts.initial_states = [[0, {len(DEMONSTRATIONS)}]]\n"
        f'origin.starts.sha256 = "{digest}"\n'
    )


def wins(plant: So101, count: int, chunk) -> int:
    """Returns in how many of `count` fresh episodes the goal is met; `chunk` gives the next actions for an observation's values and pictures."""
    won = 0
    for start in range(FRESH, FRESH + count):
        values, done, steps = plant.reset(0, start)["values"], False, 0
        while not done and steps < STEPS:
            for action in chunk(values, plant.frames()):
                observation, done = plant.step(action)
                values, steps = observation["values"], steps + 1
                if done or steps == STEPS:
                    break
        won += done
    return won


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model and its card")
    parser.add_argument("--judge", type=int, default=0, metavar="N", help="episodes that both policies run from fresh starts")
    parser.add_argument("--cameras", action="store_true", help="read pictures too; they need OpenGL (MUJOCO_GL=egl)")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    plant = So101(given.cameras)
    mean, deviation, weights = trained(*demonstrated(plant))
    written(given.out, mean, deviation, weights, CAMERAS if given.cameras else ())
    print(f"{given.out / 'weak.onnx'} and its card {given.out / 'weak.toml'}")
    if given.judge:
        weak = lambda *seen: layers(weights, (encoded(*seen) - mean) / deviation)[-1].reshape(HORIZON, -1) * SCALE + OFFSET  # noqa: E731
        print(f"weak won {wins(plant, given.judge, weak)} of {given.judge} episodes")
        print(f"the script won {wins(plant, given.judge, lambda values, _: [scripted(values)])} of {given.judge} episodes")


if __name__ == "__main__":
    main()
