"""`aegis model check` on a network of LeRobot's own class: a dead input, joints in another order and a picture upside down are found,
and what LeRobot computes agrees with the exported graph.

    AEGIS_BINARY=../../../target/release/aegis python -m unittest test_model_check

Needs LIBERO's scenes, and the Python of `cargo xtask test` in `.deps/python` to ask the simulator for states and pictures."""

import os
import re
import subprocess
import unittest
from pathlib import Path

import numpy as np
import torch
from harness import Folder, loaded
from lerobot.policies.act.modeling_act import ACTPolicy

import reduced

REPOSITORY = Path(__file__).resolve().parents[3]
AEGIS = os.environ.get("AEGIS_BINARY")
STARTS = 12
SIDE = 64

# Asks a served simulator for the states and pictures of its first starts, and writes them as arrays.
ASK = """
import sys
import numpy as np, zenoh
sys.path.insert(0, sys.argv[1])
from aegis_wire import decode, encode

given = zenoh.Config()
given.insert_json5("mode", '"client"')
given.insert_json5("connect/endpoints", '["' + sys.argv[2] + '"]')
given.insert_json5("scouting/multicast/enabled", "false")
session = zenoh.open(given)

def ask(kind, **fields):
    for reply in session.get("aegis/libero/request", payload=encode(kind, fields), timeout=60):
        return decode(reply.ok.payload.to_bytes())[1]

claimed = ask("Claim", controller="test", nonce=1, mode="lock_step")["session"]
states, pictures = [], []
for start in range(int(sys.argv[3])):
    moved = ask("Reset", session=claimed, episode=start + 1, task=start % 2, initial_state=start)
    place, found = 0, {}
    for feature in moved["schema"]["features"]:
        if feature["kind"] == "tensor":
            size = int(np.prod(feature["shape"]))
            found[feature["name"]] = moved["observation"]["values"][place : place + size]
            place += size
    states.append(found["joint_positions"] + found["gripper_positions"])
    for picture in ask("FramesRequest", session=claimed, episode=start + 1, sequence=0)["pictures"]:
        if picture["camera"] == "agentview":
            rows = np.frombuffer(picture["rgb"], np.uint8).reshape(picture["height"], picture["width"], 3)
            pictures.append(rows.transpose(2, 0, 1).astype(np.float32) / 255)
np.savez(sys.argv[4], states=np.array(states, np.float32), pictures=np.array(pictures))
session.close()
"""


@unittest.skipUnless(AEGIS, "AEGIS_BINARY names no program")
class Check(Folder):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.program = str(Path(AEGIS).resolve())
        served = subprocess.Popen(
            [cls.program, "sim", "serve", "--pictures", f"{SIDE}x{SIDE}", "--listen", "tcp/127.0.0.1:0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            endpoint = served.stdout.readline().split()[-1]
            path = cls.folder / "seen.npz"
            python = REPOSITORY / ".deps/python/bin/python"
            link = REPOSITORY / "sim_bridge/link/python"
            subprocess.run([python, "-c", ASK, link, endpoint, str(STARTS), path], check=True)
        finally:
            served.kill()
            served.communicate()
        cls.seen = np.load(path)

    def export(self, name, edit_policy=None):
        """Exports a policy of random weights that reads seven joints, two fingers and one camera; records what LeRobot gives."""
        shape = (("front",), SIDE, SIDE, 9, 7)
        checkpoint = reduced.act(self.folder / name, shape=shape, edit_policy=edit_policy)
        read = ("observation.state=joint_positions,gripper_positions", "observation.images.front=agentview")
        self.exported(name, "act", "--checkpoint", checkpoint, "--read", read[0], "--read", read[1])
        policy, before, after = loaded(ACTPolicy, checkpoint)
        chunks = []
        for state, picture in zip(self.seen["states"], self.seen["pictures"]):
            observation = {
                "observation.state": torch.from_numpy(state)[None],
                "observation.images.front": torch.from_numpy(picture)[None],
            }
            chunks.append(after(policy.predict_action_chunk(before(observation))).numpy()[0])
        recorded = {"observation.state": self.seen["states"], "observation.images.front": self.seen["pictures"]}
        np.savez(self.folder / "recorded.npz", **recorded, action=np.array(chunks, np.float32))
        return self.folder / "out" / f"{name}.toml"

    def check(self, card):
        command = [self.program, "model", "check", card, "--recorded", self.folder / "recorded.npz"]
        found = subprocess.run(command, capture_output=True, text=True)
        return found.returncode, found.stdout + found.stderr

    def edited(self, card, pattern, to):
        text, count = re.subn(pattern, to, card.read_text(), flags=re.DOTALL)
        self.assertEqual(count, 1, text)
        other = card.with_name(f"edited-{card.name}")
        other.write_text(text)
        return other

    def test_a_policy_that_fits_agrees_with_lerobot(self):
        code, said = self.check(self.export("fits"))
        self.assertEqual(code, 0, said)
        self.assertIn("ok      dead inputs: 10 values and pictures", said)
        self.assertIn("good    recorded actions: largest difference", said)
        self.assertIn("good    recorded values: observation.state: each of 9 values", said)
        self.assertIn("good    recorded pictures: observation.images.front", said)

    def test_a_dead_input_is_named(self):
        def kill(policy):
            with torch.no_grad():
                policy.model.encoder_robot_state_input_proj.weight[:, 8] = 0

        code, said = self.check(self.export("dead", kill))
        self.assertEqual(code, 1, said)
        faults = [line for line in said.splitlines() if line.startswith("fault")]
        self.assertEqual(len(faults), 1, said)
        self.assertIn("observation.state[8], gripper_positions.finger2: no change of it", faults[0])

    def test_joints_turned_by_one_are_found(self):
        card = self.export("turned")
        turned = 'terms = [{ feature = "joint_positions", slice = [1, 7] }, { feature = "joint_positions", slice = [0, 1] }, { feature = "gripper_positions" }]'
        code, said = self.check(self.edited(card, r"terms = \[.*?\]\n", turned + "\n"))
        self.assertEqual(code, 1, said)
        self.assertIn("fault    recorded values: the order is permuted: observation.state[0] holds joint_positions.joint2", said)

    def test_a_picture_upside_down_is_found(self):
        code, said = self.check(self.edited(self.export("down"), r'camera = "agentview"\n', 'camera = "agentview"\nrotate = 180\n'))
        self.assertEqual(code, 1, said)
        self.assertIn("fault    recorded pictures: observation.images.front", said)


if __name__ == "__main__":
    unittest.main()
