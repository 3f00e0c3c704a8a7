"""Template for serving a simulator, in lock-step: replace the four methods. Needs `eclipse-zenoh`, `msgpack` and `numpy`.

    python serve_simulator.py --name table --listen tcp/127.0.0.1:7447

The simulator in this template is a point on a table of one metre. It slides to a mark behind a wall that has a gap.
"""

import argparse

import numpy

from aegis_link import arguments, serve
from aegis_plant import Plant
from aegis_schema import channel, vector

PERIOD_S = 0.05
WALL, GAP = 0.5, 0.6  # The wall stands at x = WALL, and is open where y > GAP.
REACHED = 0.05


class Table(Plant):
    """REPLACE: what policies may read and command, by name, with units and frames."""

    action_width, tasks, period_ns, lock_step = 2, 1, 50_000_000, True
    features = [vector("position", ["x", "y"], "m, table frame"), vector("mark", ["x", "y"], "m, table frame")]
    channels = [channel(f"velocity_{axis}", "m/s, table frame", (-1.0, 1.0), still=0.0) for axis in "xy"]

    def reset(self, task: int, initial_state: int) -> dict:
        """REPLACE: begin an episode. The same numbers have to give the same start, bit for bit, whatever ran before."""
        draw = numpy.random.default_rng([task, initial_state])
        self.position, self.mark = draw.uniform((0.0, 0.0), (0.3, 1.0)), draw.uniform((0.7, 0.0), (1.0, 1.0))
        self.steps = 0
        return self.observation()

    def step(self, action: list) -> tuple[dict, bool]:
        """REPLACE: execute an action for one control period; return the observation and whether the goal is met."""
        moved = self.position + PERIOD_S * numpy.clip(action, -1.0, 1.0)
        is_through = (self.position[0] < WALL) != (moved[0] < WALL)
        if not is_through or moved[1] > GAP:
            self.position = moved
        self.steps += 1
        return self.observation(), bool(numpy.linalg.norm(self.position - self.mark) < REACHED)

    def hold(self) -> tuple[dict, bool]:
        return self.step([0.0, 0.0])

    def state(self) -> list:
        """REPLACE: everything that decides what happens next, so that two runs can be compared bit for bit."""
        return [*self.position, *self.mark, self.steps]

    def observation(self) -> dict:
        values = {"position": self.position.copy(), "mark": self.mark.copy()}
        return {"plant_time": self.steps * PERIOD_S, "task": 0, "instruction": "slide to the mark", "values": values}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    serve(Table(), **arguments(parser, "table"))
