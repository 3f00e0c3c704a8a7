"""Tests of the Python side's codec and rules, without a network or a clock, and of the vectors shared with the Rust side.

    python -m unittest test_aegis_link

`test_aegis_tls.py` has the tests with certificates and real sessions."""

import io
import json
import math
import signal
import unittest
from unittest import mock
from pathlib import Path

import numpy as np

import aegis_link
from aegis_access import access_control, guard, settings
from aegis_host import Host
from aegis_inbox import ACTIONS, MAX_TO_PLANT, PULSES, REQUESTS, STOPS, Inbox
from aegis_plant import Plant, check
from aegis_schema import camera, channel, tensor, vector
from aegis_wire import MAX_MESSAGE, WireError, decode, encode

SHARED = Path(__file__).parents[1] / "tests"
VECTORS = json.loads((SHARED / "vectors.json").read_text())


class Toy(Plant):
    """A one-dimensional plant that counts how often it was moved; the same plant as in the Rust tests."""

    action_width, tasks, period_ns, lock_step = 1, 3, 50_000_000, True
    features = [
        vector("joint_positions", ["joint"], "rad"),
        vector("gripper_positions", ["left", "right"], "m"),
        camera("agentview", 2, 2),
    ]
    channels = [channel("joint_velocity", "rad/s", (-1, 1), still=0)]

    def __init__(self):
        self.resets = self.stops = self.holds = self.count = 0
        self.value, self.actions, self.broken = 0.0, [], False

    def observation(self) -> dict:
        return {
            "plant_time": self.count * 0.05,
            "task": 1,
            "instruction": "hold the line",
            "values": {"joint_positions": [self.value], "gripper_positions": [0.04, -0.04]},
        }

    def reset(self, task, initial_state):
        if task > 2:
            raise ValueError(f"unknown task {task}; valid are 0 to 2")
        self.resets += 1
        self.count, self.value = 0, float(initial_state)
        return self.observation()

    def step(self, action):
        self.actions.append(action)
        self.count += 1
        self.value = self.value * 1.0001 + math.sin(action[0])
        if self.broken:
            raise RuntimeError("a joint is stuck")
        return self.observation(), self.count >= 5

    def hold(self):
        self.holds += 1
        self.count += 1
        return self.observation(), False

    def state(self):
        return [self.value, float(self.count)]

    def frames(self):
        return [{"camera": "agentview", "width": 2, "height": 2, "rgb": bytes(12)}]

    def stop(self):
        self.stops += 1


def ms(milliseconds: int) -> int:
    return milliseconds * 1_000_000


class Wire(unittest.TestCase):
    def test_shared_messages_are_read_and_written_alike(self):
        for vector in VECTORS["read"] + VECTORS["also_read"]:
            with self.subTest(vector.get("what", vector["kind"])):
                fields = vector["fields"]
                if "data" in fields:
                    fields["data"] = bytes.fromhex(fields["data"])
                for picture in fields.get("pictures", []):
                    picture["rgb"] = bytes.fromhex(picture["rgb"])
                data = bytes.fromhex(vector["bytes"])
                kind, found = decode(data)
                self.assertEqual(kind, vector["kind"])
                # Compared as text, because -0.0 equals 0.0.
                self.assertEqual(repr(sorted(found.items())), repr(sorted(fields.items())))
                if "what" not in vector:
                    self.assertEqual(encode(vector["kind"], fields), data)

    def test_shared_refusals_are_refused_for_the_same_reason(self):
        for vector in VECTORS["refused"]:
            with self.subTest(vector["what"]), self.assertRaises(WireError) as caught:
                decode(bytes.fromhex(vector["bytes"]))
            self.assertEqual(caught.exception.what, vector["error"], vector["what"])

    def test_a_truncated_message_is_refused_wherever_it_ends(self):
        for vector in VECTORS["read"]:
            data = bytes.fromhex(vector["bytes"])
            for end in range(len(data)):
                with self.assertRaises(WireError, msg=f"{vector['kind']}: {end} of {len(data)} bytes"):
                    decode(data[:end])

    def test_both_versions_are_named(self):
        with self.assertRaisesRegex(WireError, "version 9; this side speaks version 3") as caught:
            decode(b"AEGS\x09\x00\x05\x00")
        self.assertEqual(caught.exception.code, "version")

    def test_a_message_above_the_limit_is_refused_unread(self):
        with self.assertRaises(WireError) as caught:
            decode(bytes(MAX_MESSAGE + 1))
        self.assertEqual(caught.exception.what, "too_large")

    def test_fields_at_fault_are_named(self):
        head = b"AEGS\x03\x00\x05\x00"
        for body, name in ((b"\x82\xa7session\x01\xa5speed\x02", "speed"), (b"\x80", "session")):
            with self.assertRaisesRegex(WireError, name):
                decode(head + body)


class Arm(Plant):
    """A robot whose action is a joint position, radians; records every call, in order."""

    action_width, period_ns = 1, 50_000_000
    features = [vector("joint_positions", ["joint"], "rad"), vector("gripper_positions", ["a", "b", "c"])]

    def __init__(self, position: float):
        self.position, self.calls = position, []

    def observation(self) -> dict:
        return {
            "plant_time": 0.0,
            "task": 0,
            "instruction": "",
            "values": {"joint_positions": [self.position], "gripper_positions": [0, 0, 0]},
        }

    def reset(self, task, initial_state):
        self.calls.append("reset")
        return self.observation()

    def step(self, action):
        self.calls.append(("step", action))
        self.position = action[0]
        return self.observation(), False

    def hold(self):
        self.calls.append("hold")
        return self.observation(), False

    def stop(self):
        self.calls.append("stop")


class Access(unittest.TestCase):
    def test_only_loopback_passes_unasked(self):
        for endpoint in ("tcp/127.0.0.1:7447", "tcp/localhost:1", "tcp/[::1]:1", "tcp/127.8.9.1:65535"):
            guard(endpoint)
        for endpoint in ("tcp/0.0.0.0:7447", "tcp/192.0.2.1:7447", "tcp/robot.local:7447", "tcp/[::]:7447"):
            with self.assertRaisesRegex(SystemExit, "off loopback.*tls/.*aegis keys.*--allow-plaintext-network"):
                guard(endpoint)
            guard(endpoint, True)

    def test_what_is_no_endpoint_is_refused_with_an_example(self):
        for endpoint in (
            "127.0.0.1:7447",
            "udp/127.0.0.1:1",
            "tcp/127.0.0.1",
            "tcp/127.0.0.1:70000",
            "tcp/127.0.0.1:0",
            "tcp/:1",
            "tls/robot#enable_mtls=false;x:7447",
            "tls/[::1%x#enable_mtls=false]:7447",
            "tcp/robot?a=b:7447",
            "tls/robot.local:1:7447",
        ):
            with self.assertRaisesRegex(SystemExit, "valid is tls/.*tcp/127.0.0.1:7447"):
                guard(endpoint, True, "keys")

    def test_tls_needs_keys_and_keys_need_tls(self):
        for endpoint in ("tls/0.0.0.0:7447", "tls/127.0.0.1:7447", "tls/[::]:7447"):
            for allowed in (False, True):
                with self.assertRaisesRegex(SystemExit, "TLS needs keys.*--keys FOLDER"):
                    guard(endpoint, allowed)
            guard(endpoint, False, "keys/plant")
        with self.assertRaisesRegex(SystemExit, "plain TCP uses no keys"):
            guard("tcp/127.0.0.1:7447", True, "keys/plant")

    def test_settings_are_those_of_the_rust_plant(self):
        for case in json.loads((SHARED / "serve_settings.json").read_text()):
            with self.subTest(case["endpoint"]):
                self.assertEqual(settings(case["endpoint"], case["keys"], case["plants"]), case["settings"])

    def test_a_watcher_sends_nothing_that_carries_data(self):
        control = access_control(["arm"])
        named = {policy["subjects"][0]: policy["rules"] for policy in control["policies"]}
        rules = [rule for rule in control["rules"] if rule["id"] in named["watcher.arm"]]
        sent = {message for rule in rules if rule["flows"] == ["ingress"] for message in rule["messages"]}
        self.assertTrue(sent)
        self.assertFalse(sent & {"put", "delete", "query", "reply"}, sent)
        self.assertEqual(control["default_permission"], "deny")


class Waiting(unittest.TestCase):
    def test_a_flood_of_each_kind_is_bounded_counted_and_leaves_room_for_the_others(self):
        inbox = Inbox()
        for i in range(1000):
            inbox.request(8, i, 0)
            inbox.stop(8, i, 0)
            inbox.action(8, lambda i=i: i, 0)
            inbox.pulse(8, lambda i=i: i, 0)
        batch = inbox.take(0)
        self.assertEqual((len(batch.pulses), len(batch.actions), batch.request), (PULSES, ACTIONS, (0, 0)))
        self.assertEqual(batch.crowded_out, 4000 - PULSES - ACTIONS - REQUESTS - STOPS)
        self.assertEqual(batch.stops, [(i, 0) for i in range(STOPS)])
        self.assertEqual((batch.pulses[-1], batch.actions[-1]), ((999, 0), (999, 0)))
        for i in range(1, REQUESTS):
            batch = inbox.take(0)
            self.assertEqual((batch.request, batch.crowded_out, batch.pulses), ((i, 0), 0, []))
        self.assertTrue(inbox.take(0).is_empty())

    def test_what_is_too_large_is_counted_and_never_copied(self):
        inbox, copied = Inbox(), lambda: self.fail("copied")
        inbox.request(MAX_TO_PLANT + 1, None, 0)
        inbox.stop(MAX_TO_PLANT + 1, None, 0)
        inbox.action(MAX_TO_PLANT + 1, copied, 0)
        inbox.pulse(MAX_TO_PLANT + 1, copied, 0)
        inbox.request(MAX_TO_PLANT, "fits", 0)
        batch = inbox.take(0)
        self.assertEqual((batch.oversized, batch.crowded_out, batch.request), (4, 0, ("fits", 0)))
        self.assertFalse(batch.pulses or batch.actions or batch.stops)


class Asking(unittest.TestCase):
    """Base class with helpers that send requests to a host as a controller does; has no tests itself."""

    def setUp(self):
        self.plant = Toy()
        self.host = Host(1000, self.plant)

    def ask(self, name, at=0, host=None, **fields):
        return decode((host or self.host).request(encode(name, fields), ms(at)))

    def claim(self, mode="lock_step", nonce=1, at=0):
        return self.ask("Claim", at, controller=f"controller {nonce}", nonce=nonce, mode=mode)

    def begin(self, mode="lock_step", episode=1):
        session = self.claim(mode)[1]["session"]
        self.assertEqual(self.reset(session, episode)[0], "Moved")
        return session

    def reset(self, session, episode, at=0, task=1):
        return self.ask("Reset", at, session=session, episode=episode, task=task, initial_state=7)

    def step(self, session, episode, sequence, value=0.0, at=0):
        return self.ask("Step", at, session=session, episode=episode, sequence=sequence, action=[value])

    def command(self, session, episode, sequence, value, at, host=None, observation=0):
        fields = {"session": session, "episode": episode, "sequence": sequence, "observation": observation, "stamp_ns": 0}
        action = value if isinstance(value, list) else [value]
        (host or self.host).action(encode("Action", {**fields, "action": action}), ms(at))

    def status(self, at=0):
        return decode(self.host.status(ms(at)))[1]

    def refused(self, answer, code):
        self.assertEqual((answer[0], answer[1].get("code")), ("Refused", code), answer)
        return answer[1]["reason"]


class Rules(Asking):
    def test_a_step_asked_twice_is_run_once(self):
        session = self.claim()[1]["session"]
        first = self.reset(session, 1, at=1)
        self.assertEqual(self.reset(session, 1, at=2), first)
        self.assertEqual((self.plant.resets, first[1]["sequence"]), (1, 0))
        one = self.step(session, 1, 1, 0.5, at=3)
        self.assertEqual(self.step(session, 1, 1, 0.5, at=4), one)
        self.assertEqual(len(self.plant.actions), 1)
        two = self.step(session, 1, 2, 0.5, at=5)[1]
        self.assertEqual((len(self.plant.actions), two["sequence"], two["state"]), (2, 2, self.plant.state()))

    def test_a_disturbance_reaches_a_plant_that_can_apply_it_and_no_other(self):
        session = self.claim()[1]["session"]
        fields = {"session": session, "task": 1, "initial_state": 7}

        def ask(episode, force):
            push = {"step": 3, "effect": {"kind": "push", "force": [force, 0.0, 0.0], "steps": 2}}
            return self.ask("Reset", **fields, episode=episode, disturbance=push)

        self.assertIn("`reset_disturbed`", self.refused(ask(1, 5.0), "plant"))
        self.assertEqual(self.plant.resets, 0)

        class Disturbable(Toy):
            def reset_disturbed(self, task, initial_state, disturbance):
                self.disturbance = disturbance
                return self.reset(task, initial_state)

        self.host.plant = self.plant = Disturbable()
        self.assertIn("disturbance.force", self.refused(ask(1, math.nan), "malformed"))
        self.assertEqual(ask(1, 5.0)[0], "Moved")
        self.assertEqual((self.plant.resets, self.plant.disturbance["effect"]["force"]), (1, [5.0, 0.0, 0.0]))
        self.assertEqual(self.reset(session, 2)[0], "Moved")

    def test_a_skipped_or_past_step_is_refused_and_moves_nothing(self):
        session = self.claim()[1]["session"]
        self.refused(self.step(session, 1, 1), "episode")
        self.reset(session, 1)
        for sequence in (0, 2, 2**32 - 1):
            self.refused(self.step(session, 1, sequence), "sequence")
        self.step(session, 1, 1)
        self.step(session, 1, 2)
        self.refused(self.step(session, 1, 1), "sequence")
        self.refused(self.step(session, 2, 3), "episode")
        self.assertEqual(len(self.plant.actions), 2)

    def test_an_episode_is_never_taken_up_again(self):
        session = self.begin(episode=5)
        self.step(session, 5, 1)
        for episode in (5, 4):
            self.refused(self.reset(session, episode), "episode")
        self.assertEqual(self.plant.resets, 1)
        self.assertEqual(self.reset(session, 6)[1]["episode"], 6)

    def test_a_second_controller_waits_until_the_first_is_gone(self):
        session = self.claim()[1]["session"]
        reason = self.refused(self.claim(nonce=2, at=1300), "held")
        self.assertRegex(reason, "'controller 1', heard 1.3 s ago; .* is let go 5 s after it was last heard: try again")
        self.assertEqual(self.claim()[1]["session"], session, "the same claim is no second controller")
        self.host.pulse(encode("Pulse", {"session": session, "stamp_ns": 0}), ms(4000))
        self.refused(self.claim(nonce=2, at=8999), "held")
        self.assertEqual(self.claim(nonce=2, at=9001)[0], "Claimed")
        self.refused(self.reset(session, 1, at=9002), "session")
        self.assertEqual(self.plant.resets, 0)

    def test_a_request_that_waited_does_not_undo_the_heartbeat_after_it(self):
        session = self.begin()
        self.step(session, 1, 1)
        # The plant moved for 90 s; meanwhile the same step and the claim were sent again.
        self.host.pulse(encode("Pulse", {"session": session, "stamp_ns": 0}), ms(90_000))
        self.assertEqual(self.step(session, 1, 1, at=30_000)[0], "Moved")
        self.assertEqual(self.claim(at=40_000)[0], "Claimed")
        self.host.expire(ms(90_100))
        self.assertEqual(self.step(session, 1, 2, at=90_100)[0], "Moved")

    def test_a_time_in_which_nothing_was_taken_in_is_no_silence_of_the_controllers(self):
        session = self.begin()
        # A method kept every other thread from running for a minute, and messages from that time are not in the inbox yet.
        self.host.discount(ms(60_000), ms(60_100))
        self.host.expire(ms(60_100))
        self.assertEqual(self.step(session, 1, 1, at=60_100)[0], "Moved")
        self.host.discount(ms(60_000), ms(60_200))  # The time last heard never lies in the future.
        self.host.expire(ms(65_201))
        self.refused(self.step(session, 1, 2, at=65_201), "session")

    def test_a_status_echoes_the_newest_heartbeat_of_whoever_holds_the_plant(self):
        def echo(at):
            status = self.status(at)
            return status["pulse_stamp_ns"], status["pulse_received_ns"]

        self.assertEqual(echo(0), (0, 0), "nobody holds it")
        session = self.claim()[1]["session"]
        self.assertEqual(echo(1), (0, 0), "none has come")
        # Stamps are on the controller's clock, arrivals on the plant's; the host does not compare them.
        for stamp, at in ((2**64 - 1, 10), (7, 110)):
            self.host.pulse(encode("Pulse", {"session": session, "stamp_ns": stamp}), ms(at))
            self.assertEqual(echo(at + 50), (stamp, ms(at)), "when it arrived, not when it was told of")
        self.host.pulse(encode("Pulse", {"session": session + 1, "stamp_ns": 8}), ms(200))
        self.host.pulse(b"AEGS", ms(200))
        self.assertEqual(echo(201), (7, ms(110)), "of nobody who holds it")
        self.assertEqual(self.claim(at=210)[1]["session"], session)
        self.assertEqual(echo(211), (7, ms(110)), "the same claim again")
        self.ask("Release", 220, session=session)
        self.assertEqual(echo(221), (0, 0))
        self.claim(nonce=2, at=230)
        self.assertEqual(echo(231), (0, 0), "another claim begins anew")

    def test_a_release_frees_the_plant_at_once(self):
        session = self.begin("free_running")
        self.assertEqual(self.ask("Release", 1, session=session)[1]["phase"], "idle")
        self.assertEqual(self.plant.stops, 1, "a plant that nobody holds stands")
        self.assertEqual(self.claim(nonce=2, at=2)[0], "Claimed")

    def test_what_is_no_message_is_dropped_with_a_count_and_moves_nothing(self):
        session = self.begin()
        good = encode("Step", {"session": session, "episode": 1, "sequence": 1, "action": [0.5]})
        for cut in range(len(good)):
            self.refused(decode(self.host.request(good[:cut], ms(2))), "malformed")
        self.refused(decode(self.host.request(good + b"\0", ms(2))), "malformed")
        self.refused(decode(self.host.request(self.host.status(0), ms(2))), "malformed")
        self.assertEqual(self.status()["dropped"], len(good) + 1)
        told = self.host.warning(ms(3))
        self.assertIn(f"dropped {len(good) + 1} messages, the last because: ", told)
        self.host.request(b"", ms(4))
        self.assertIsNone(self.host.warning(ms(1002)), "told of once a second")
        self.assertIn("dropped 1 message, ", self.host.warning(ms(1003)))
        self.assertEqual(self.plant.actions, [])
        self.assertEqual(decode(self.host.request(good, ms(3)))[1]["sequence"], 1, "the episode goes on")

    def test_another_version_is_refused_with_both_named(self):
        claim = bytearray(encode("Claim", {"controller": "c", "nonce": 1, "mode": "lock_step"}))
        claim[4] = 9
        reason = self.refused(decode(self.host.request(bytes(claim), 0)), "version")
        self.assertIn("version 9", reason)
        self.assertIn("version 3", reason)

    def test_a_restarted_host_knows_nothing_of_the_old_session(self):
        session = self.begin("free_running")
        new = Host(2000, Toy())
        self.command(session, 1, 1, 0.9, at=2, host=new)
        self.assertIsNone(new.tick(ms(3)))
        answer = self.ask("Step", 4, new, session=session, episode=1, sequence=1, action=[0.0])
        self.refused(answer, "session")
        self.assertEqual((new.plant.actions, new.dropped), ([], 1))

    def test_a_free_running_plant_stands_until_commanded_and_stops_when_commands_cease(self):
        session = self.claim("free_running")[1]["session"]
        self.assertEqual((self.host.period(), self.host.tick(0)), (None, None))
        self.reset(session, 1)
        self.assertEqual(self.host.period(), ms(50))
        self.assertIsNotNone(self.host.tick(ms(50)))
        self.command(session, 1, 1, 0.5, at=60)
        for tick in (100, 150, 200, 250, 261):
            self.assertIsNotNone(self.host.tick(ms(tick)))
        # 200 ms after the last command the plant stops, and it stays stopped when further commands arrive.
        self.assertEqual((self.status()["phase"], self.plant.stops), ("stopped", 1))
        self.command(session, 1, 2, 0.5, at=270)
        self.host.tick(ms(300))
        self.assertEqual((self.plant.actions, self.plant.holds), ([[0.5]] * 4, 3), "no action is made up")
        self.assertEqual(self.status()["dropped"], 1)
        # Only an explicit reset lets the plant move again.
        self.reset(session, 2, at=310)
        self.command(session, 2, 1, 0.25, at=320)
        self.host.tick(ms(350))
        self.assertEqual(self.plant.actions[-1], [0.25])

    def test_a_command_that_comes_after_the_timeout_does_not_undo_the_stop(self):
        session = self.begin("free_running")
        self.command(session, 1, 1, 0.5, at=10)
        self.command(session, 1, 2, 0.5, at=211)
        self.assertEqual((self.status()["phase"], self.plant.stops), ("stopped", 1))

    def test_a_command_that_answers_an_observation_older_than_the_timeout_is_dropped(self):
        session = self.begin("free_running")
        for period in range(1, 9):
            self.host.tick(ms(50 * period))
            if period > 5:
                self.command(session, 1, period, 0.9, at=50 * period + 1, observation=period - 5)
        self.assertEqual(self.status(402)["dropped"], 3)
        self.command(session, 1, 20, 0.9, at=403, observation=4)
        self.assertEqual(self.status(404)["dropped"], 3)

    def test_stale_duplicated_and_unfit_commands_are_dropped(self):
        session = self.begin("free_running", episode=3)
        self.command(session, 3, 5, 0.5, at=10)
        self.command(session, 3, 5, 0.1, at=20)
        self.command(session, 3, 4, 0.1, at=20)
        self.command(session, 2, 9, 0.1, at=20)
        self.command(session + 1, 3, 9, 0.1, at=20)
        self.command(session, 3, 9, math.nan, at=20)
        self.command(session, 3, 9, [1.0, 1.0], at=20)
        self.host.action(bytes(3), ms(20))
        self.assertEqual(self.status()["dropped"], 7)
        self.host.tick(ms(50))
        self.assertEqual(self.plant.actions, [[0.5]])
        self.refused(self.step(session, 3, 1, at=60), "mode")

    def test_pictures_belong_to_a_step(self):
        session = self.begin()
        look = {"session": session, "episode": 1}
        self.assertEqual(self.ask("FramesRequest", **look, sequence=0)[1]["pictures"], self.plant.frames())
        self.refused(self.ask("FramesRequest", **look, sequence=1), "sequence")

    def test_what_the_plant_refuses_is_told_and_leaves_no_episode(self):
        session = self.claim()[1]["session"]
        self.assertIn("unknown task 3", self.refused(self.reset(session, 1, task=3), "plant"))
        self.assertEqual(self.status()["phase"], "held")

    def test_a_step_that_failed_is_not_run_again(self):
        session = self.begin()
        self.refused(self.step(session, 1, 1, math.nan), "plant")
        self.assertEqual((self.plant.actions, self.status()["phase"]), ([], "running"), "an unfit action moves nothing")
        self.plant.broken = True
        self.assertIn("stuck", self.refused(self.step(session, 1, 1), "plant"))
        self.refused(self.step(session, 1, 1), "episode")
        self.assertEqual(len(self.plant.actions), 1)

    def test_a_free_running_plant_that_fails_stops(self):
        session = self.begin("free_running")
        self.plant.broken = True
        self.command(session, 1, 1, 0.5, at=10)
        self.assertIsNone(self.host.tick(ms(50)))
        self.assertEqual((self.status()["phase"], self.status()["session"], self.plant.stops), ("stopped", session, 1))

    def test_messages_that_were_dropped_unread_are_counted(self):
        self.host.overlook(3, "more of them came than the plant takes")
        self.host.overlook(0, "nothing")
        self.assertEqual(self.status()["dropped"], 3)
        self.assertIn("more of them came", self.host.warning(0))


class Watchdogs(Asking):
    """The same rules as in the Rust tests: what is executed is said, and a watchdog's stop outlives what a controller asks for."""

    def watchdog(self, name, at=0, **fields):
        return decode(self.host.watchdog(encode(name, fields), ms(at)))

    def stop(self, at=0, hold=3000):
        return self.watchdog("StopRequest", at, reason="a jump", hold_ns=ms(hold))

    def executed(self):
        data = self.host.executed()
        return data and decode(data)[1]

    def test_every_period_says_what_it_executed(self):
        session = self.begin("free_running")
        self.assertIsNone(self.executed())
        self.host.tick(ms(50))
        stood = self.executed()
        self.assertEqual((stood["session"], stood["episode"], stood["sequence"]), (session, 1, 1))
        self.assertEqual((stood["command"], stood["action"]), (0, []))
        self.assertIsNone(self.executed(), "it is said once")
        self.command(session, 1, 9, 0.5, at=60)
        self.host.tick(ms(100))
        moved = self.executed()
        self.assertEqual((moved["sequence"], moved["command"], moved["action"]), (2, 9, [0.5]))
        # What has failed may have moved the plant.
        self.plant.broken = True
        self.command(session, 1, 10, 0.75, at=110)
        self.assertIsNone(self.host.tick(ms(150)))
        self.assertEqual(self.executed()["action"], [0.75])

    def test_a_watchdogs_stop_outlives_whatever_a_controller_asks_for(self):
        session = self.begin("free_running")
        self.host.tick(ms(50))
        self.command(session, 1, 1, 0.5, at=60)
        self.assertEqual(self.stop(at=70)[1]["phase"], "stopped")
        self.assertEqual(self.plant.stops, 1, "at once")
        for sequence in range(2, 5):
            self.command(session, 1, sequence, 0.5, at=80)
            self.host.tick(ms(100))
            self.assertEqual(self.executed()["command"], 0)
        self.assertEqual(self.plant.actions, [])
        reason = self.refused(self.reset(session, 2, at=120), "stopped")
        self.assertRegex(reason, "a watchdog holds the plant: a jump; an operator has to reset the watchdog first")
        self.ask("Release", at=130, session=session)
        again = self.claim("free_running", nonce=2, at=140)[1]["session"]
        self.refused(self.reset(again, 1, at=150), "stopped")
        self.stop(at=3000)
        self.stop(at=3001, hold=0)  # A later request shortens nothing.
        self.host.pulse(encode("Pulse", {"session": again, "stamp_ns": 1}), ms(5000))
        self.refused(self.reset(again, 1, at=5999), "stopped")
        self.assertEqual(self.reset(again, 1, at=6000)[0], "Moved")

    def test_a_watchdogs_stop_ends_an_episode_in_lock_step_too(self):
        session = self.begin()
        self.step(session, 1, 1, 0.5)
        self.assertEqual(self.stop(at=20, hold=100)[1]["phase"], "stopped")
        for at in (30, 200):
            self.refused(self.step(session, 1, 2, 0.5, at=at), "stopped")
        self.assertEqual(len(self.plant.actions), 1)

    def test_a_stop_that_fails_is_no_stop_yet(self):
        session = self.begin("free_running")
        self.command(session, 1, 1, 0.5, at=10)
        self.host.tick(ms(50))
        self.plant.stop = mock.Mock(side_effect=[OSError("the driver is gone"), OSError("still"), None])
        self.assertEqual(self.stop(at=60)[1]["phase"], "running")
        self.assertIsNone(self.host.tick(ms(100)))
        self.assertEqual(self.stop(at=160)[1]["phase"], "stopped")
        self.assertEqual(self.plant.actions, [[0.5]])

    def test_a_stop_reaches_a_plant_that_nobody_holds(self):
        self.assertEqual(self.stop()[1]["phase"], "idle")
        self.assertEqual(self.plant.stops, 1)

    def test_a_watchdog_is_told_what_the_plant_offers_and_can_ask_for_nothing_else(self):
        name, attached = self.watchdog("Attach", watchdog="dog")
        self.assertEqual(name, "Attached")
        self.assertEqual((attached["action_width"], attached["period_ns"]), (1, 50_000_000))
        self.assertEqual(attached["command_timeout_ns"], 200_000_000)
        claim = self.watchdog("Claim", controller="dog", nonce=1, mode="free_running")
        self.refused(claim, "malformed")
        self.refused(self.ask("StopRequest", reason="", hold_ns=1), "malformed")
        self.refused(decode(self.host.watchdog(b"no message", 0)), "malformed")


class PositionRobot(Asking):
    """Row 44 of the fault table: where commands cease, a position-controlled robot keeps its pose."""

    START = 0.93  # Start position, radians; a constant action of zero would be a command to move by this much.

    def setUp(self):
        self.plant = Arm(self.START)
        self.host = Host(1000, self.plant)
        self.session = self.claim("free_running")[1]["session"]
        self.reset(self.session, 1)

    def ticks(self, *times):
        for at in times:
            self.assertIsNotNone(self.host.tick(ms(at)))

    def steps(self):
        return [call[1] for call in self.plant.calls if call[0] == "step"]

    def after_stop(self):
        calls = self.plant.calls
        return calls[calls.index("stop") + 1 :]

    def test_before_the_first_command_it_is_observed_and_not_commanded(self):
        self.ticks(50, 100, 150)
        self.assertEqual(self.plant.calls, ["reset", "hold", "hold", "hold"])
        self.assertEqual(self.plant.position, self.START)

    def test_the_last_command_holds_between_commands(self):
        self.command(self.session, 1, 1, 0.75, at=60)
        self.ticks(100, 150)
        self.command(self.session, 1, 2, 0.5, at=160)
        self.ticks(200, 250, 300)
        self.assertEqual(self.steps(), [[0.75], [0.75], [0.5], [0.5], [0.5]])
        self.assertNotIn("stop", self.plant.calls)

    def test_no_command_follows_a_stop_until_a_reset(self):
        self.command(self.session, 1, 1, 0.75, at=60)
        self.ticks(100, 150, 200, 250, 300, 350)
        self.command(self.session, 1, 2, 0.5, at=360)
        self.ticks(400, 450)
        self.assertEqual(self.after_stop(), ["hold"] * 4)
        self.assertEqual((self.steps(), self.plant.position), ([[0.75]] * 4, 0.75))
        # Observations continue after the stop, so that the controller gets the robot's pose.
        moved = decode(self.host.tick(ms(500)))[1]
        self.assertEqual((moved["observation"]["values"][:1], moved["sequence"]), ([0.75], 9))
        self.reset(self.session, 2, at=510)
        self.ticks(550)
        self.command(self.session, 2, 1, 0.25, at=560)
        self.ticks(600)
        self.assertEqual(self.after_stop()[5:], ["reset", "hold", ("step", [0.25])])

    def test_a_controller_that_is_gone_leaves_it_where_it_is(self):
        for leave in ("release", "silence", "end"):
            with self.subTest(leave):
                self.setUp()
                self.command(self.session, 1, 1, 0.75, at=60)
                self.ticks(100)
                if leave == "release":
                    self.ask("Release", 110, session=self.session)
                elif leave == "silence":
                    self.host.expire(ms(5061))
                else:
                    self.host.free()
                self.assertIsNone(self.host.tick(ms(5100)))
                self.assertEqual(self.plant.calls, ["reset", ("step", [0.75]), "stop"])

    def test_a_reset_amid_commands_stops_it_first(self):
        self.command(self.session, 1, 1, 0.75, at=60)
        self.ticks(100)
        self.reset(self.session, 2, at=110)
        self.ticks(150)
        self.assertEqual(self.plant.calls, ["reset", ("step", [0.75]), "stop", "reset", "hold"])

    def test_what_fails_is_stopped_and_commanded_no_more(self):
        def broken(action):
            self.plant.calls.append("broken")
            raise RuntimeError("a joint is stuck")

        self.plant.step = broken
        self.command(self.session, 1, 1, 0.75, at=60)
        self.assertIsNone(self.host.tick(ms(100)))
        self.ticks(150, 200)
        self.assertEqual(self.plant.calls, ["reset", "broken", "stop", "hold", "hold"])

        def refused(task, initial_state):
            raise RuntimeError("the gripper is not homed")

        self.plant.reset = refused
        self.refused(self.reset(self.session, 2, at=210), "plant")
        self.assertEqual(self.plant.calls[-1], "stop")

    def test_frames_of_cameras_are_numbered_stamped_and_a_camera_that_fails_stops_nothing(self):
        frame = {"camera": "front", "width": 1, "height": 1, "encoding": "rgb", "data": b"abc"}
        taken, begin = ms(50) + 1_000, 900
        old = {**frame, "taken_ns": begin - 1}  # Of a time before the reset: it shows another scene.
        self.plant.new_frames = lambda: [
            old,
            {**frame, "taken_ns": taken},
            {**frame, "camera": "wrist", "taken_ns": taken + 500},
        ]
        found = [decode(data) for _ in range(2) for data in self.host.frames(begin)]
        self.assertEqual({name for name, _ in found}, {"CameraFrame"})
        numbers = [(fields["camera"], fields["sequence"], fields["stamp_ns"]) for _, fields in found]
        self.assertEqual(numbers, [(name, count, ms(50) + stamp) for count in (1, 2) for name, stamp in (("front", 100), ("wrist", 600))])
        self.assertEqual(found[0][1]["session"], self.session)
        self.reset(self.session, 2, at=10)
        self.assertEqual(decode(self.host.frames(begin)[0])[1]["sequence"], 1)

        self.plant.new_frames = lambda: [{**frame, "encoding": "bmp", "taken_ns": taken}]
        self.assertEqual(self.host.frames(begin), [])
        fault = next(iter(self.host.faults.tell(ms(0))))
        self.assertRegex(fault, "new_frames.*encoding: found 'bmp', expected one of rgb, jpeg")
        self.plant.new_frames = lambda: [frame]
        self.assertEqual(self.host.frames(begin), [])
        self.assertIsNotNone(self.host.tick(ms(50)))
        self.assertEqual(self.plant.calls[-1], "hold")

    def test_a_plant_with_cameras_and_no_new_frames_is_told_so_at_its_reset(self):
        self.plant.features = [*self.plant.features, camera("front", 1, 1)]
        self.reset(self.session, 2, at=10)
        self.assertRegex(self.host.faults.tell(ms(0))[0], "announces the cameras front and has no method `new_frames`")
        self.plant.new_frames = lambda: []
        self.reset(self.session, 3, at=20)
        self.assertEqual(self.host.faults.tell(ms(10_000)), [])

    def test_a_plant_that_does_not_say_how_it_stands_is_refused(self):
        class Old(Plant):
            action_width, period_ns, stand_still = 1, 50_000_000, [0.0]

        with self.assertRaisesRegex(TypeError, r"Old has no method `hold`.*def hold\(self\).*stand_still"):
            Host(1, Old())
        check(self.plant)

    def test_what_is_announced_is_in_the_answer_to_a_reset_and_nowhere_else(self):
        answer = self.reset(self.session, 2, at=10)[1]
        self.assertEqual([feature["name"] for feature in answer["schema"]["features"]], ["joint_positions", "gripper_positions"])
        self.assertIsNone(decode(self.host.tick(ms(50)))[1]["schema"])

    def test_what_cannot_be_announced_is_refused_by_its_field(self):
        joints = vector("joints", ["a"])
        for features, channels, words in (
            (None, [], r"Arm\.features: found none; valid is a list .*features = \[vector"),
            ([], [], r"Arm\.features: found \[\]"),
            ([joints, joints], [], r"features\[1\]\.name: found 'joints' twice"),
            ([vector("", ["a"])], [], r"features\[0\]\.name: found ''"),
            ([tensor("a", [2, 0])], [], r"features\[0\]\.shape: found \[2, 0\] of feature 'a'"),
            ([tensor("one", [])], [], r"shape: found \[\] of feature 'one'; .* above 0, as \[1\] for one number"),
            ([tensor("one", 3)], [], r"shape: found 3 of feature 'one'; .* as \[1\] for one number"),
            ([tensor("a", [2], ["x"])], [], r"features\[0\]\.names: found 1; valid is 2"),
            ([tensor("a", [70_000])], [], r"found 70000 values so far; valid is at most 65536"),
            ([{"name": "a"}], [], r"features\[0\]: found keys \['name'\]"),
            ([{**joints, "dtype": "float16"}], [], r"features\[0\]\.dtype: found 'float16'"),
            ([{**camera("eye", 2, 2), "shape": [2, 2, 1], "names": []}], [], r"valid is \[height, width, 3\] of uint8"),
            ([joints], [channel("a"), channel("b")], r"channels: found 2; valid is 1"),
            ([joints], [channel("a", bounds=(1, -1))], r"channels\[0\]\.bounds: found \[1\.0, -1\.0\]"),
            ([joints], [channel("a", bounds=(math.nan, 1))], r"channels\[0\]\.bounds"),
            ([joints], [channel("a", still=math.inf)], r"channels\[0\]\.still: found inf"),
        ):
            with self.subTest(words):
                plant = Arm(0.0)
                plant.features, plant.channels = features, channels
                with self.assertRaisesRegex(TypeError, words):
                    check(plant)

    def test_numbers_that_no_plant_has_are_refused_with_what_would_be_valid(self):
        for name, found, valid in (
            ("period_ns", 1e9 / 20, "50_000_000 for 20 periods a second"),
            ("period_ns", 0, "from 1000000 to 1000000000"),
            ("period_ns", None, "found none"),
            ("action_width", 65, "from 1 to 64"),
            ("action_width", True, "found True"),
            ("action_width", "7", "found '7'"),
            ("tasks", -1, "from 1 to 4294967295"),
        ):
            plant = Arm(0.0)
            setattr(plant, name, found)
            with self.assertRaisesRegex(TypeError, rf"Arm\.{name}: found .*; valid is a whole number") as caught:
                Host(1, plant)
            self.assertIn(valid, str(caught.exception))
        plant = Arm(0.0)
        plant.action_width, plant.period_ns = np.int64(7), np.int32(1_000_000)
        claimed = self.ask("Claim", host=Host(1, plant), controller="", nonce=1, mode="free_running")[1]
        self.assertEqual((claimed["action_width"], claimed["period_ns"]), (7, 1_000_000))

    def test_no_controller_moves_a_robot_step_by_step_without_start_limits_and_timeout(self):
        host = Host(1, Arm(0.5))
        name, refused = self.ask("Claim", host=host, controller="demo", nonce=1, mode="lock_step")
        self.assertEqual((name, refused["code"], host.held), ("Refused", "mode", None))
        self.assertIn("drive it by `aegis run`", refused["reason"])
        self.assertEqual(self.ask("Claim", host=host, controller="run", nonce=2, mode="free_running")[0], "Claimed")

    def test_a_stop_that_would_end_the_server_is_tried_again_too(self):
        for error in (SystemExit(1), KeyboardInterrupt(), GeneratorExit()):
            with self.subTest(type(error).__name__):
                self.setUp()
                self.command(self.session, 1, 1, 0.75, at=60)
                self.ticks(100)
                self.plant.stop, stop = mock.Mock(side_effect=error), self.plant.stop
                self.host.free()
                self.assertTrue(self.host.is_stop_due)
                self.plant.stop = stop
                self.assertTrue(self.host.settle())
                self.assertEqual(self.plant.calls, ["reset", ("step", [0.75]), "stop"])

    def refuses_to_stop(self):
        self.plant.calls.append("no stop")
        raise OSError("the driver is gone")

    def test_a_stop_that_fails_is_tried_again_every_period_and_is_none_before_it_has_worked(self):
        self.command(self.session, 1, 1, 0.75, at=60)
        self.ticks(100, 150, 200, 250)
        self.plant.stop, stop = self.refuses_to_stop, self.plant.stop
        for at in (300, 350, 400):
            self.assertIsNone(self.host.tick(ms(at)), "without observations its controller stops commanding")
            self.assertEqual(self.status(at)["phase"], "running")
        self.command(self.session, 1, 2, 0.5, at=410)
        self.assertIn("`stop` has not worked", self.refused(self.reset(self.session, 2, at=410), "plant"))
        self.assertEqual(self.plant.calls[-4:], [("step", [0.75])] + ["no stop"] * 3, "and no action counts meanwhile")
        told = self.host.faults.tell(ms(420))
        self.assertEqual(len(told), 1)
        self.assertRegex(told[0], r"^`stop` raised OSError: the driver is gone \(test_aegis_link.py, line \d+\); .*again")
        self.plant.stop = stop
        self.ticks(450)
        self.assertEqual((self.plant.calls[-2:], self.status(451)["phase"]), (["stop", "hold"], "stopped"))
        self.assertEqual(self.reset(self.session, 2, at=460)[0], "Moved", "the same number again: it had not begun")

    def test_a_stop_that_failed_is_owed_whoever_holds_the_plant_and_to_the_end(self):
        self.plant.stop, stop = self.refuses_to_stop, self.plant.stop
        self.ask("Release", 60, session=self.session)
        session = self.claim("free_running", nonce=2, at=70)[1]["session"]
        self.refused(self.reset(session, 1, at=80), "plant")
        waits = []
        with self.assertRaisesRegex(SystemExit, "arm: ends although `stop` has not worked.*emergency stop"):
            aegis_link.bring_to_stand(self.host, "arm", lambda: len(waits) * 1_000_000_000, waits.append)
        self.assertEqual((len(waits), self.plant.calls), (5, ["reset"] + ["no stop"] * 7))
        self.plant.stop = stop
        aegis_link.bring_to_stand(self.host, "arm", lambda: 0, waits.append)
        self.assertEqual((self.plant.calls[-1], len(waits)), ("stop", 5))
        self.assertEqual(self.reset(session, 1, at=90)[0], "Moved")

    def test_what_a_method_raises_is_said_with_its_name_and_place_once_a_second(self):
        def no_sensors():
            raise RuntimeError("no sensors")

        self.plant.hold = no_sensors
        told = []
        for at in range(50, 2050, 50):
            self.host.tick(ms(at))
            told += self.host.faults.tell(ms(at))
        place = r"`hold` raised RuntimeError: no sensors \(test_aegis_link.py, line \d+\)"
        self.assertEqual(len(told), 2)
        self.assertRegex(told[0], f"^{place}$")
        self.assertRegex(told[1], rf"^{place} \(20 times since the last line about it\)$")

    def test_what_is_no_answer_is_said_with_what_was_expected_and_is_never_sent(self):
        whole = self.plant.observation()
        with_gripper = lambda found: {**whole, "values": {**whole["values"], "gripper_positions": found}}  # noqa: E731
        lacking = {name: value for name, value in whole.items() if name != "values"}
        for answer, words in (
            (None, "returned None; expected (observation, success)"),
            (whole, "expected (observation, success)"),
            ((lacking, False), "observation: field values is missing"),
            (({**whole, "speed": 1.0}, False), "observation: unknown field 'speed', expected plant_time"),
            ((with_gripper(["open", 0, 0]), False), "values.gripper_positions: found ['open', 0, 0], expected numbers of shape [3]"),
            ((with_gripper({1}), False), "values.gripper_positions: found {1}, expected numbers"),
            ((with_gripper([1.0]), False), "values.gripper_positions: found 1 values, expected shape [3]"),
            (({**whole, "values": [0.0] * 4}, False), "values: found list, expected a map of joint_positions, gripper_positions"),
            (({**whole, "values": {"joint_positions": [0.0]}}, False), "values: feature gripper_positions is missing"),
            (({**whole, "values": {**whole["values"], "force": [1.0]}}, False), "values: unknown feature 'force'"),
            ((whole, 1), "success: found 1, expected true or false"),
        ):
            with self.subTest(words):
                self.setUp()
                self.plant.step = lambda action, answer=answer: answer
                self.command(self.session, 1, 1, 0.75, at=60)
                self.assertIsNone(self.host.tick(ms(100)))
                told = self.host.faults.tell(ms(100))
                self.assertEqual((len(told), self.status(101)["phase"]), (1, "stopped"))
                self.assertTrue(told[0].startswith("`step` returned "), told[0])
                self.assertIn(words, told[0])
        self.plant.reset = lambda task, initial_state: lacking
        self.assertIn("`reset` returned", self.refused(self.reset(self.session, 2, at=110), "plant"))

    def test_numbers_of_numpy_are_numbers(self):
        shown = self.plant.observation()
        shown["plant_time"], shown["task"] = np.float32(0.5), np.uint32(0)
        shown["values"] = {
            "joint_positions": np.float32(0.25),
            "gripper_positions": [np.float64(0.125), np.array([[2.0]], dtype=np.float16), True],
        }
        self.plant.hold = lambda: (shown, np.bool_(True))
        moved = decode(self.host.tick(ms(50)))[1]
        found = moved["observation"]
        self.assertEqual((found["values"], found["plant_time"]), ([0.25, 0.125, 2.0, 1.0], 0.5))
        self.assertIs(moved["success"], True)


class Ending(unittest.TestCase):
    def handled(self):
        names = aegis_link.ALWAYS_ENDS + aegis_link.ENDS_BY_DEFAULT
        numbers = sorted({getattr(signal, name) for name in names} | set(range(signal.SIGRTMIN, signal.SIGRTMAX + 1)))
        for number in numbers:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
            signal.signal(number, signal.SIG_DFL)  # As in a terminal: the tests' parent may ignore some, as `nohup` does.
        return numbers

    def test_every_signal_that_would_end_or_suspend_it_ends_the_serving(self):
        numbers = self.handled()
        self.assertLessEqual({signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGINT, signal.SIGTSTP}, set(numbers))
        for number in (signal.SIGTTIN, signal.SIGTTOU):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
            signal.signal(number, signal.SIG_DFL)
        told = aegis_link.signals_to_end()
        for number in numbers:
            signal.raise_signal(number)
        self.assertEqual(told, numbers)
        # Nothing that a program can handle is left with an action that ends or suspends it.
        harmless = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
        crashes = {signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS}
        fixed = {signal.SIGKILL, signal.SIGSTOP}
        for number in signal.valid_signals() - harmless - crashes - fixed:
            self.assertIsNot(signal.getsignal(number), signal.SIG_DFL, number)

    def test_a_signal_that_a_shell_or_a_driver_has_taken_stays_theirs_but_for_those_that_always_end(self):
        self.handled()
        heard = []
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, lambda *_: heard.append("a driver's"))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        told = aegis_link.signals_to_end()
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
            signal.raise_signal(number)
        self.assertEqual((told, heard), ([signal.SIGTERM], ["a driver's"]))

    def test_a_timeout_that_is_none_is_refused(self):
        for good in (1, 200, 60_000):
            aegis_link.check_timeout(good)
        for bad in (0, -5, 60_001, 99_999_999_999_999_999, 200.0, True):
            with self.assertRaisesRegex(SystemExit, f"--command-timeout: found {bad}; valid is .*1 to 60000"):
                aegis_link.serve(Arm(0.0), "arm", command_timeout=bad)

    def test_a_late_period_is_followed_by_a_whole_one(self):
        self.assertEqual(aegis_link.next_tick(100, 50, 103), 150)  # A little late: the grid stays.
        self.assertEqual(aegis_link.next_tick(100, 50, 330), 380)  # No second step at once.

    def test_nobody_to_read_it_ends_nothing(self):
        class Closed(io.StringIO):
            def write(self, _):
                raise BrokenPipeError

        aegis_link.say("serving", Closed())



if __name__ == "__main__":
    unittest.main()
