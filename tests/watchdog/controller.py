"""A controller of `robot.py` that sends what it should not. It drives at a constant velocity until a line with the name of a fault
comes on standard input. Then it does that once and goes on with commands; once the robot has stopped, it tries everything that
could set the robot in motion again: actions, resets, a release and a new claim. It says `driving`, `done FAULT`,
`refused: REASON` for each new reason, and `reset granted`."""

import argparse
import queue
import sys
import threading
import time
from pathlib import Path

import zenoh

LINK = Path(__file__).resolve().parents[2] / "sim_bridge/link/python"
sys.path.insert(0, str(LINK))

from aegis_wire import decode, encode  # noqa: E402

SPEED = 0.1
JOINTS = 7
FAULTS = ("jump", "bounds", "nan", "second", "old", "unreadable", "end")


def say(line: str) -> None:
    print(line, flush=True)


class Controller:
    def __init__(self, session: zenoh.Session, name: str):
        self.session, self.root = session, f"aegis/{name}"
        self.actions = session.declare_publisher(f"{self.root}/action", express=True)
        self.pulses = session.declare_publisher(f"{self.root}/pulse", express=True)
        self.observations = queue.Queue()
        hear = lambda sample: self.observations.put(decode(sample.payload.to_bytes())[1])  # noqa: E731
        self.subscriber = session.declare_subscriber(f"{self.root}/observation", hear)
        self.has_stopped = False  # Whether the robot was heard to have stopped.
        self.statuses = session.declare_subscriber(f"{self.root}/status", self.heard)
        self.episode = self.sequence = self.seen = 0
        self.nonce, self.number = time.monotonic_ns(), 0
        self.refusals = set()

    def heard(self, sample) -> None:
        self.has_stopped |= decode(sample.payload.to_bytes())[1]["phase"] == "stopped"

    def ask(self, name: str, **fields):
        """Returns the answer, or None where none came."""
        for reply in self.session.get(f"{self.root}/request", payload=encode(name, fields), timeout=5):
            if reply.ok:
                return decode(reply.ok.payload.to_bytes())
        return None

    def claim(self) -> None:
        self.nonce += 1
        while True:
            answer = self.ask("Claim", controller="a test", nonce=self.nonce, mode="free_running")
            if answer and answer[0] == "Claimed":
                self.number = answer[1]["session"]
                return
            time.sleep(0.05)

    def reset(self) -> bool:
        self.episode += 1
        answer = self.ask("Reset", session=self.number, episode=self.episode, task=0, initial_state=0)
        if answer and answer[0] == "Moved":
            self.sequence = self.seen = 0
            return True
        if answer and answer[1]["reason"] not in self.refusals:
            self.refusals.add(answer[1]["reason"])
            say(f"refused: {answer[1]['reason']}")
        return False

    def pulse(self) -> None:
        self.pulses.put(encode("Pulse", {"session": self.number, "stamp_ns": time.monotonic_ns()}))

    def wait(self) -> None:
        """Waits for an observation of the episode, for a tenth of a second at most."""
        until = time.monotonic() + 0.1
        while (left := until - time.monotonic()) > 0:
            try:
                moved = self.observations.get(timeout=left)
            except queue.Empty:
                return
            if (moved["session"], moved["episode"]) == (self.number, self.episode):
                self.seen = moved["sequence"]
                return

    def send(self, speed: float = SPEED, session: int | None = None) -> None:
        self.sequence += 1
        self.send_again(speed, session)

    def send_again(self, speed: float = SPEED, session: int | None = None) -> None:
        numbers = {"session": self.number if session is None else session, "episode": self.episode}
        fields = {**numbers, "sequence": self.sequence, "observation": self.seen, "stamp_ns": 1}
        self.actions.put(encode("Action", {**fields, "action": [speed] + [SPEED] * (JOINTS - 1)}))

    def do(self, fault: str) -> None:
        if fault == "jump":
            self.send(SPEED + 0.5)
        elif fault == "bounds":
            self.send(0.95)
        elif fault == "nan":
            self.send(float("nan"))
        elif fault == "second":
            # As of a controller that thinks that it holds the robot, which another one does.
            self.send(session=self.number + 1000)  # The next claims get the next numbers.
        elif fault == "old":
            self.send_again()
        elif fault == "unreadable":
            self.actions.put(b"no message")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--connect", required=True)
    arguments = parser.parse_args()
    config = zenoh.Config()
    config.insert_json5("mode", '"client"')
    config.insert_json5("connect/endpoints", f'["{arguments.connect}"]')
    config.insert_json5("scouting/multicast/enabled", "false")
    told = queue.Queue()
    threading.Thread(target=lambda: [told.put(line.strip()) for line in sys.stdin], daemon=True).start()
    with zenoh.open(config) as session:
        controller = Controller(session, arguments.name)
        controller.claim()
        while not controller.reset():
            time.sleep(0.05)
        drive(controller, told)
        controller.ask("Release", session=controller.number)


def drive(controller: Controller, told: queue.Queue) -> None:
    periods, fault = 0, None
    while True:
        controller.pulse()
        controller.wait()
        periods += 1
        if periods == 10:
            say("driving")
        if fault is None and not told.empty():
            fault = told.get()
            if fault == "end":
                controller.send(SPEED)
                break
            controller.do(fault)
            say(f"done {fault}")
        elif not controller.has_stopped or periods % 3:
            controller.send()
        elif periods % 30 == 0:
            controller.ask("Release", session=controller.number)
            controller.claim()
            controller.episode = 0
        elif controller.reset():
            say("reset granted")
    # Comes to rest within the limits, and lets the robot stop by itself.
    for speed in (0.08, 0.06, 0.04, 0.02, 0.0, 0.0):
        controller.wait()
        numbers = {"session": controller.number, "episode": controller.episode}
        controller.sequence += 1
        fields = {**numbers, "sequence": controller.sequence, "observation": controller.seen, "stamp_ns": 1}
        controller.actions.put(encode("Action", {**fields, "action": [speed] * JOINTS}))
    say("at rest")
    while not told.get() == "release":
        pass


if __name__ == "__main__":
    main()
