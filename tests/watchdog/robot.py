"""The robot of `serve_robot.py`, which says on standard output what its driver is told: `step`, `hold` or `stop`."""

import argparse
import sys
from pathlib import Path

LINK = Path(__file__).resolve().parents[2] / "sim_bridge/link/python"
sys.path.insert(0, str(LINK))

from aegis_link import arguments, say, serve  # noqa: E402
from serve_robot import Robot  # noqa: E402


class Told(Robot):
    def step(self, action):
        say("step", sys.stdout)
        return super().step(action)

    def hold(self):
        say("hold", sys.stdout)
        return super().hold()

    def stop(self):
        say("stop", sys.stdout)


if __name__ == "__main__":
    serve(Told(), **arguments(argparse.ArgumentParser(description=__doc__), "robot"))
