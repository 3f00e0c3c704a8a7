"""Tests of a person's side of a call, without a network or a clock.

    python -m unittest test_aegis_teleop
"""

import math
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from aegis_teleop import Hand, Keys, Leader, Script, parse_pair
from aegis_wire import decode, encode
from teleop import LeaderDevice, drive

CHANNELS = [
    {"name": "lift", "kind": "position", "bounds": [-1.0, 1.0], "within": 0.05},
    {"name": "turn", "kind": "rate", "bounds": [-2.0, 1.0], "within": 0.5},
    {"name": "", "kind": "discrete", "bounds": [-1.0, 1.0], "within": 1.0},
]
COMMAND = [0.5, 0.0, -1.0]
ME = 9


def call(**changed) -> bytes:
    fields = {
        "session": 4,
        "episode": 2,
        "state": "called",
        "call": 1,
        "operator": 0,
        "sequence": 0,
        "left_ns": 60_000_000_000,
        "period_ns": 50_000_000,
        "stream_timeout_ns": 300_000_000,
        "command": COMMAND,
        "refused": 0,
        "away": [],
        "channels": CHANNELS,
    }
    return encode("Call", {**fields, **changed})


def hand(**changed) -> Hand:
    found = Hand(ME)
    found.hear(call(**changed), 0.0)
    return found


class AHand(unittest.TestCase):
    def test_answers_the_newest_call_and_numbers_its_commands(self):
        found = Hand(ME)
        self.assertIsNone(found.command(COMMAND, 1))
        self.assertEqual(found.hear(call(), 0.0), ["called 1: the robot holds still for 60 s"])
        self.assertEqual(found.hear(call(left_ns=1), 0.0), [], "nothing has changed")
        found.toggle()
        for sequence in (1, 2):
            name, fields = decode(found.command(COMMAND, 7))
            numbers = {"operator": ME, "session": 4, "episode": 2, "call": 1, "sequence": sequence, "stamp_ns": 7}
            self.assertEqual((name, fields), ("Teleop", {**numbers, "engaged": True, "action": COMMAND}))
        self.assertEqual(found.hear(call(state="driving", operator=ME), 0.1), ["driving 1"])
        self.assertTrue(found.is_engaged)
        found.toggle()
        self.assertEqual(decode(found.command(COMMAND, 8))[1]["action"], [], "whoever is not engaged wants nothing")

    def test_takes_hold_only_of_what_calls_and_of_no_later_call(self):
        found = hand(state="quiet")
        found.toggle()
        self.assertFalse(found.is_engaged)
        found = hand()
        found.toggle()
        found.hear(call(state="driving", operator=ME + 1), 0.1)
        self.assertFalse(found.is_engaged, "another one drives")
        found = hand()
        found.toggle()
        found.hear(call(state="driving", operator=ME), 0.1)
        # The message in which nobody was needed was lost.
        found.hear(call(call=2), 0.2)
        self.assertFalse(found.is_engaged)

    def test_tells_once_how_far_a_refused_command_is_and_in_which_channel(self):
        found = hand()
        refused = call(refused=ME, away=[0.1, 0.2, 2.0])
        expected = ["refused: lift +0.1000 (at most 0.0500), channel 2 +2.0000 (at most 1.0000)"]
        self.assertEqual([found.hear(refused, 0.1), found.hear(refused, 0.2)], [expected, []])
        self.assertEqual(found.hear(call(refused=ME + 1, away=[0.1, 0.2, 2.0]), 0.3), [])
        self.assertIn("not finite", found.hear(call(refused=ME), 0.4)[0])
        self.assertEqual(found.away([0.6, 0.5, -1.0]), [("lift", 0.6 - 0.5, 0.05)])

    def test_rings_at_a_call_and_every_second_until_it_is_answered(self):
        found = hand()
        self.assertEqual([found.rings(now) for now in (0.0, 0.5, 0.9)], [True, False, False])
        found.hear(call(), 1.0)
        self.assertTrue(found.rings(1.0))
        self.assertFalse(found.rings(2.5), "the controller is silent")
        found.hear(call(state="driving", operator=ME), 2.6)
        self.assertFalse(found.rings(2.6))
        found.hear(call(call=2), 2.7)
        self.assertTrue(found.rings(2.7))

    def test_refuses_bytes_that_are_no_call(self):
        with self.assertRaisesRegex(ValueError, "Release on a key of Call"):
            Hand(ME).hear(encode("Release", {"session": 1}), 0.0)
        with self.assertRaisesRegex(ValueError, "not an AEGIS message"):
            Hand(ME).hear(b"something else", 0.0)


class AKeyboard(unittest.TestCase):
    def setUp(self):
        self.keys = Keys()
        self.keys.follow(COMMAND)

    def test_moves_a_position_by_one_periods_worth_and_a_rate_while_its_key_is_held(self):
        self.assertEqual(self.keys.current(0.0), COMMAND, "taking hold jumps nowhere")
        for key in "qqa":
            self.keys.press(key, CHANNELS, 0.0)
        self.assertAlmostEqual(self.keys.current(0.0)[0], 0.55)
        self.keys.press("s", CHANNELS, 0.0)
        self.assertEqual(self.keys.current(0.2)[1], -0.5, "a quarter of its fastest")
        self.assertEqual(self.keys.current(0.4)[1], 0.0)
        self.keys.press("e", CHANNELS, 0.4)
        self.assertEqual(self.keys.current(0.4)[2], 1.0)

    def test_stays_within_bounds_and_takes_no_other_key(self):
        self.keys.press("]", CHANNELS, 0.0)
        for _ in range(20):
            self.assertTrue(self.keys.press("q", CHANNELS, 0.0))
        self.assertEqual(self.keys.current(0.0)[0], 1.0)
        for key in ("r", "f", "?", "\x1b", ""):
            self.assertFalse(self.keys.press(key, CHANNELS, 0.0), key)
        wide = [{**CHANNELS[0], "within": math.inf}]
        self.keys.follow([0.0])
        self.keys.scale = 1.0
        self.keys.press("q", wide, 0.0)
        self.assertAlmostEqual(self.keys.current(0.0)[0], 0.02, msg="a hundredth of the range")

    def test_tab_goes_to_the_next_nine_channels_and_back(self):
        many = [CHANNELS[0]] * 11
        self.keys.follow([0.0] * 11)
        self.keys.press("\t", many, 0.0)
        self.assertTrue(self.keys.press("w", many, 0.0) and not self.keys.press("e", many, 0.0))
        self.assertAlmostEqual(self.keys.current(0.0)[10], 0.05)
        self.keys.press("\t", many, 0.0)
        self.keys.press("q", many, 0.0)
        self.assertAlmostEqual(self.keys.current(0.0)[0], 0.05)


class ALeader(unittest.TestCase):
    def test_steers_channels_by_the_names_of_its_joints(self):
        bound = Leader([]).bound(["lift.pos", "gripper.pos"], CHANNELS)
        self.assertEqual(bound, [("lift.pos", 0, 1.0, 0.0)])
        self.assertEqual(Leader.values(bound, {"lift.pos": 0.75}, COMMAND), [0.75, 0.0, -1.0])
        bound = Leader([parse_pair("gripper=turn:0.5:-0.25")]).bound(["lift.pos", "gripper.pos"], CHANNELS)
        self.assertEqual(Leader.values(bound, {"gripper.pos": 1.0}, COMMAND), [0.5, 0.25, -1.0])

    def test_names_that_are_missing_are_said(self):
        for pairs, joints, expected in (
            ([], ["a.pos"], "--map: found none, and no joint of a.pos has the name of a channel, lift, turn"),
            (["b=lift"], ["a.pos"], "--map: found no such joint as in 'lift'; valid are a.pos"),
            (["a=up"], ["a.pos"], "--map: found channel 'up'; valid are lift, turn"),
        ):
            with self.assertRaisesRegex(ValueError, expected):
                Leader([parse_pair(text) for text in pairs]).bound(joints, CHANNELS)
        for text in ("lift", "=lift", "a=", "a=b:c", "a=b:1:2:3", "a=b:nan"):
            with self.assertRaisesRegex(ValueError, "valid is JOINT=CHANNEL"):
                parse_pair(text)


class ALeaderOfLeRobot(unittest.TestCase):
    """A leader arm by LeRobot's interface, of a package of this test that is laid out as LeRobot 0.4.4 is: a registry of configurations
    that packages fill when they are imported, one of which needs what is not installed."""

    PACKAGE = {
        "__init__.py": "",
        "teleoperators/__init__.py": "from .config import TeleoperatorConfig\n",
        "teleoperators/config.py": (
            "class TeleoperatorConfig:\n    known = {}\n"
            "    @classmethod\n    def get_known_choices(cls):\n        return cls.known\n"
        ),
        "teleoperators/utils.py": (
            "def make_teleoperator_from_config(config):\n    from .so_leader import Arm\n    return Arm(config)\n"
        ),
        "teleoperators/phone/__init__.py": "import no_such_package_at_all\n",
        "teleoperators/so_leader/__init__.py": (
            "from dataclasses import dataclass\nfrom ..config import TeleoperatorConfig\n"
            "@dataclass\nclass Config:\n    port: str\n    use_degrees: bool = True\n    id: str = None\n"
            "TeleoperatorConfig.known['so101_leader'] = Config\n"
            "class Arm:\n"
            "    def __init__(self, config):\n        self.config, self.log = config, []\n"
            "    def connect(self):\n        self.log.append('connect')\n"
            "    def get_action(self):\n        return {'lift.pos': 30.0, 'gripper.pos': 50.0}\n"
            "    def disconnect(self):\n        self.log.append('disconnect')\n"
        ),
    }

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, text in self.PACKAGE.items():
            path = Path(folder.name) / "lerobot" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        patched = mock.patch.object(sys, "path", [folder.name, *sys.path])
        patched.start()
        self.addCleanup(patched.stop)
        self.addCleanup(lambda: [sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "lerobot"])

    def test_is_connected_read_in_the_channels_units_and_disconnected(self):
        device = LeaderDevice("so101_leader", {"port": "/dev/arm", "id": "left"}, [parse_pair("lift=lift:0.01")])
        self.assertEqual((device.arm.config.port, device.arm.config.id, device.arm.log), ("/dev/arm", "left", ["connect"]))
        self.assertEqual(device.read(hand(), "", 0.0), [0.3, 0.0, -1.0])
        device.close()
        self.assertEqual(device.arm.log, ["connect", "disconnect"])

    def test_a_kind_or_an_option_that_is_not_there_is_said(self):
        with self.assertRaisesRegex(SystemExit, "--lerobot: found 'so102_leader'; valid are so101_leader"):
            LeaderDevice("so102_leader", {}, [])
        with self.assertRaisesRegex(SystemExit, "--option: so101_leader: .*colour"):
            LeaderDevice("so101_leader", {"port": "/dev/arm", "colour": 1}, [])


class AScript(unittest.TestCase):
    def test_waits_for_a_call_steers_and_lets_go(self):
        found = Hand(ME)
        found.hear(call(state="quiet"), 0.0)
        script = Script(["# a demonstration", "wait called", "engage", "wait driving", "add 0 0.1", "send 3", "release", "say over"])
        self.assertEqual((script.run(found), script.values, found.is_engaged), ([], COMMAND, False))
        found.hear(call(), 0.1)
        script.run(found)
        self.assertEqual((found.is_engaged, script.values), (True, COMMAND))
        found.hear(call(state="driving", operator=ME + 1), 0.2)
        script.run(found)
        self.assertEqual(script.values, COMMAND, "another one drives")
        found.hear(call(state="driving", operator=ME), 0.2)
        found.is_engaged = True
        for left in (3, 2, 1):
            self.assertEqual((script.run(found), script.left), ([], left))
            self.assertAlmostEqual(script.values[0], 0.6)
        self.assertEqual((script.run(found), found.is_engaged, script.is_over()), (["over"], False, True))

    def test_a_line_that_is_no_step_is_refused(self):
        for line in ("wait", "wait nobody", "engage now", "set a 1", "send 0", "add 1", "say", "dance"):
            with self.assertRaisesRegex(ValueError, "--script: found .*valid is wait STATE, engage"):
                Script([line])

    def test_a_channel_that_the_robot_has_not_is_said(self):
        for step in ("set 99 1", "add -1 0.1"):
            script = Script(["engage", step])
            with self.assertRaisesRegex(ValueError, "--script: (set|add): found channel (99|-1); valid is 0 to 2"):
                script.run(hand())


class AnEnd(unittest.TestCase):
    """What `teleop.py` sends before a device's failure ends it, to a network that is none."""

    def sent(self, device, states: list) -> list:
        session, calls = mock.Mock(), []
        session.declare_subscriber.side_effect = lambda key, heard: calls.append(heard) or mock.Mock()
        publisher = session.declare_publisher.return_value
        terminal = mock.Mock(keys=lambda: calls[0](mock.Mock(**{"payload.to_bytes.return_value": states.pop(0)})) or "")
        with mock.patch("teleop.signal.signal"), self.assertRaises(SystemExit) as ended:
            drive(session, "arm", device, terminal, 500.0)
        self.end = str(ended.exception)
        return [decode(put.args[0])[1] for put in publisher.put.call_args_list]

    def test_of_a_device_that_fails_lets_go_and_says_why_in_one_line(self):
        class Arm:
            reads = 0

            def read(self, hand, pressed, now):
                self.reads += 1
                if self.reads > 2:
                    raise RuntimeError("the cable\nwas pulled")
                hand.is_engaged = True
                return COMMAND

        sent = self.sent(Arm(), [call() for _ in range(9)])
        self.assertEqual([command["engaged"] for command in sent], [True, True, False])
        self.assertEqual(self.end, "the device cannot be read any more, so it lets go: RuntimeError: the cable was pulled")

    def test_nothing_is_sent_while_nobody_is_called(self):
        class Arm:
            reads = 0

            def read(self, hand, pressed, now):
                self.reads += 1
                if self.reads > 5:
                    raise ValueError("over")
                return COMMAND

        quiet = call(state="quiet", call=0)
        sent = self.sent(Arm(), [quiet, quiet, call(), quiet, quiet, quiet, quiet])
        self.assertEqual([command["call"] for command in sent], [1, 0], "the answer to the call, and the one that lets go")


if __name__ == "__main__":
    unittest.main()
