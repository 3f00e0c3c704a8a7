"""An operator of `aegis run` that does what it should not. It publishes fifty commands a second and says on standard output what the
controller says: `called N`, `mine N` and `other N` for who drives, `released N`, `quiet N`, and `refused CHANNEL DISTANCE ...` once
for each refusal that differs. A line on standard input changes what it sends from then on:

    engage          takes hold at the robot's last command, and goes on with that
    move C D        wants channel C by D further
    jump C D        engages with channel C by D away from the robot's last command, again and again
    release         lets go
    nan, width      one command with NaN, or with one value too many
    stray           beside each command, the same one for another claim, for another episode and with an old number, with all values
                    changed
    silence         sends nothing more
"""

import argparse
import os
import queue
import sys
import threading
import time
from pathlib import Path

import zenoh

LINK = Path(__file__).resolve().parents[2] / "sim_bridge/link/python"
sys.path.insert(0, str(LINK))

from aegis_wire import decode, encode  # noqa: E402


def say(line: str) -> None:
    print(line, flush=True)


class Operator:
    def __init__(self, session: zenoh.Session, name: str):
        self.number = int.from_bytes(os.urandom(7), "big") + 1
        self.commands = session.declare_publisher(f"aegis/{name}/teleop", express=True)
        self.calls = queue.Queue()
        self.subscriber = session.declare_subscriber(
            f"aegis/{name}/call", lambda sample: self.calls.put(decode(sample.payload.to_bytes())[1])
        )
        self.call, self.said, self.refused = None, None, None
        self.engaged, self.values, self.sequence = False, [], 0
        self.jump = self.once = None
        self.stray = self.silent = False

    def hear(self) -> None:
        while not self.calls.empty():
            self.call = call = self.calls.get()
            words = {"driving": "mine" if call["operator"] == self.number else "other"}
            said = f"{words.get(call['state'], call['state'])} {call['call']}"
            if said != self.said:
                self.said = said
                say(said)
            refused = None
            if call["refused"] == self.number:
                far = [(index, away) for index, away in enumerate(call["away"]) if abs(away) > call["channels"][index]["within"]]
                refused = "refused" + "".join(f" {index} {away:+.3f}" for index, away in far)
            if refused and refused != self.refused:
                say(refused)
            self.refused = refused

    def obey(self, line: str) -> None:
        word, *rest = line.split()
        if word == "engage":
            self.engaged, self.jump, self.values = True, None, list(self.call["command"])
        elif word == "move":
            self.values[int(rest[0])] += float(rest[1])
        elif word == "jump":
            self.engaged, self.jump = True, (int(rest[0]), float(rest[1]))
        elif word == "release":
            self.engaged = False
        elif word in ("nan", "width"):
            self.once = word
        elif word == "stray":
            self.stray = True
        elif word == "silence":
            self.silent = True
        say(f"ok {line}")

    def send(self) -> None:
        if self.silent or self.call is None:
            return
        values = list(self.values) if self.engaged else []
        if self.engaged and self.jump:
            values = list(self.call["command"])
            values[self.jump[0]] += self.jump[1]
        if self.once:
            values = values + [0.0] if self.once == "width" else [float("nan"), *values[1:]]
            self.once = None
        self.put(values)
        if self.stray:
            away = [value + 1.0 for value in values]
            self.put(away, session=self.call["session"] + 1)
            self.put(away, episode=self.call["episode"] + 1)
            self.sequence -= 3
            self.put(away)
            self.sequence += 2

    def put(self, values: list, **changed) -> None:
        self.sequence += 1
        numbers = {name: self.call[name] for name in ("session", "episode", "call")}
        fields = {**numbers, "operator": self.number, "sequence": self.sequence, "stamp_ns": time.monotonic_ns()}
        self.commands.put(encode("Teleop", {**fields, "engaged": self.engaged, "action": values, **changed}))


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
        operator = Operator(session, arguments.name)
        while True:
            operator.hear()
            while not told.empty():
                operator.obey(told.get())
            operator.send()
            time.sleep(0.02)


if __name__ == "__main__":
    main()
