"""The two policies for `serve_simulator.py`: a weak one that learned from five demonstrations, and the script that gave them.

    python serve_pair.py weak --name weak --listen tcp/127.0.0.1:7450
    python serve_pair.py strong --name strong --listen tcp/127.0.0.1:7451
"""

import argparse
import hashlib
from pathlib import Path

import numpy

from aegis_policy import Policy
from aegis_serve_policy import arguments, serve
from serve_simulator import GAP, PERIOD_S, WALL, Table

HORIZON, UNITS = 5, 16
STEPS = 80  # Control steps of a demonstration at the most.


def script(position: numpy.ndarray, mark: numpy.ndarray) -> numpy.ndarray:
    """Returns the velocity of the scripted expert: up to the gap, through it, then to the mark."""
    aim = mark
    if position[0] < WALL:
        aim = numpy.array([WALL + 0.05, GAP + 0.2] if position[1] > GAP + 0.1 else [WALL - 0.1, GAP + 0.25])
    way = (aim - position) / PERIOD_S
    return way / max(1.0, numpy.abs(way).max())


def rolled_out(position: numpy.ndarray, mark: numpy.ndarray) -> numpy.ndarray:
    """Returns the script's next actions, `[HORIZON, 2]`, from a simulation of its own."""
    table = Table()
    table.position, table.mark, table.steps = position, mark, 0
    actions = []
    for _ in range(HORIZON):
        actions.append(script(table.position, mark))
        table.step(actions[-1])
    return numpy.array(actions)


DRAW = numpy.random.default_rng(0)
INPUT, BIAS = DRAW.normal(0.0, 2.0, (UNITS, 4)), DRAW.normal(0.0, 1.0, UNITS)


def hidden(position: numpy.ndarray, mark: numpy.ndarray) -> numpy.ndarray:
    """Returns the hidden layer of the weak policy, `[UNITS]`; its weights are drawn and not trained."""
    return numpy.tanh(INPUT @ (numpy.concatenate([position, mark]) - 0.5) + BIAS)


def trained(episodes: range) -> numpy.ndarray:
    """Returns the output weights `[UNITS, 2 * HORIZON]`: least squares on what the script did in these episodes."""
    table, inputs, labels = Table(), [], []
    for number in episodes:
        table.reset(0, number)
        for _ in range(STEPS):
            inputs.append(hidden(table.position, table.mark))
            labels.append(rolled_out(table.position, table.mark).ravel())
            if table.step(labels[-1][:2])[1]:
                break
    layer, actions = numpy.array(inputs), numpy.array(labels)
    return numpy.linalg.solve(layer.T @ layer + 1e-3 * numpy.eye(UNITS), layer.T @ actions)


class Strong(Policy):
    model = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    horizon, width, names = HORIZON, 2, [channel["name"] for channel in Table.channels]
    features = ["position", "mark"]
    remembers = False

    def infer(self, observation):
        return rolled_out(observation.values["position"], observation.values["mark"])


class Weak(Strong):
    activation = (1, UNITS)
    weights = trained(range(5))
    model = hashlib.sha256(weights.tobytes()).hexdigest()

    def infer(self, observation):
        layer = hidden(observation.values["position"], observation.values["mark"])
        return numpy.clip(layer @ self.weights, -1.0, 1.0).reshape(HORIZON, 2), layer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", choices=("weak", "strong"))
    given = arguments(parser, "weak")
    serve({"weak": Weak, "strong": Strong}[given.pop("policy")], **given)
