"""Tests of a served policy's answers, without a network.

    python -m unittest test_aegis_policy
"""

import math
import os
import unittest

import numpy

from aegis_policy import CLIENTS, Policy, PolicyHost, PooledActivation, check, digest
from aegis_wire import decode, encode

SCHEMA = {
    "features": [
        {"name": "joints", "shape": [2], "dtype": "float64", "kind": "tensor", "names": ["a", "b"], "semantics": "rad"},
        {"name": "grid", "shape": [2, 2], "dtype": "float64", "kind": "tensor", "names": [], "semantics": ""},
    ],
    "actions": [],
}
PICTURE = {"camera": "front", "width": 2, "height": 1, "rgb": bytes(range(6))}


class Toy(Policy):
    """Returns what it was asked, and counts its inferences."""

    model, horizon, width, activation = "a" * 64, 2, 3, (2, 1)
    features, cameras = ["joints", "grid"], {"front": (1, 2)}

    def __init__(self):
        self.seeds, self.count = [], 0

    def reset(self, seed):
        self.seeds.append(seed)
        self.count = 0

    def infer(self, seen):
        self.count += 1
        self.seen = seen
        return numpy.full((2, 3), self.count), [[seen.values["joints"][0]], [seen.values["grid"][1, 1]]]


class Blind(Toy):
    """Remembers nothing."""

    remembers = False


def question(client=1, episode=1, inference=0, **changed):
    values = [0.5, 1.5, 1.0, 2.0, 3.0, 4.0]
    observation = {"plant_time": 0.25, "task": 3, "instruction": "lift", "values": values}
    place = {"client": client, "episode": episode, "inference": inference, "request": 9, "step": 5, "seed": 40 + episode}
    return encode("Infer", {**place, "schema": SCHEMA, "observation": observation, "pictures": [PICTURE], **changed})


class Answers(unittest.TestCase):
    def ask(self, host, *place, **changed):
        name, message = decode(host.answer(question(*place, **changed)))
        return message["reason"] if name == "Refused" else message

    def test_a_question_reaches_the_module_as_arrays_and_its_answer_goes_back(self):
        host = PolicyHost(Toy)
        answer = self.ask(host)
        self.assertEqual((answer["request"], answer["model"], answer["width"]), (9, "a" * 64, 3))
        self.assertEqual((answer["values"], answer["activation_width"], answer["activation"]), ([1.0] * 6, 1, [0.5, 4.0]))
        seen = host.first.seen
        self.assertEqual((seen.instruction, seen.task, seen.step, seen.seconds), ("lift", 3, 5, 0.25))
        self.assertEqual(seen.values["grid"].shape, (2, 2))
        self.assertEqual(seen.pictures["front"].tolist(), [[[0, 1, 2], [3, 4, 5]]])

    def test_it_says_what_it_reads_and_returns(self):
        name, said = decode(PolicyHost(Toy).answer(encode("Describe", {"request": 4})))
        self.assertEqual((name, said["horizon"], said["width"], said["features"]), ("Described", 2, 3, ["joints", "grid"]))
        self.assertEqual(said["cameras"], [{"camera": "front", "height": 1, "width": 2}])
        self.assertTrue(said["remembers"])

    def test_episodes_of_several_controllers_are_kept_apart(self):
        host = PolicyHost(Toy)
        counts = [self.ask(host, client, 1, inference)["values"][0] for client, inference in ((1, 0), (1, 1), (2, 0), (1, 2))]
        self.assertEqual(counts, [1.0, 2.0, 1.0, 3.0])
        self.assertIn("found 5 of an episode; valid is 3", self.ask(host, 1, 1, 5))
        self.assertIn("valid is 0", self.ask(host, 1, 2, 1))
        for client in range(3, CLIENTS + 4):
            self.ask(host, client, 1, 0)
        self.assertEqual(len(host.clients), CLIENTS)
        self.assertIn("valid is 0", self.ask(host, 1, 1, 3))  # Has given way to newer ones.
        blind = PolicyHost(Blind)
        self.assertEqual(self.ask(blind, 1, 1, 7)["values"][0], 1.0)
        self.ask(blind, 2, 1, 0)
        self.assertEqual(len(blind.clients), 1)

    def test_what_is_missing_or_of_another_shape_is_refused_by_name(self):
        host = PolicyHost(Blind)
        self.assertIn("picture of front: found none", self.ask(host, pictures=[]))
        self.assertIn("picture of front: found 3 bytes", self.ask(host, pictures=[{**PICTURE, "rgb": b"abc"}]))
        one = {**SCHEMA, "features": SCHEMA["features"][:1]}
        self.assertIn("observation.values: found 6; valid are the 2", self.ask(host, schema=one))
        other = {**SCHEMA, "features": [{**SCHEMA["features"][0], "name": "elbows"}, SCHEMA["features"][1]]}
        self.assertIn("feature joints: missing; found elbows, grid", self.ask(host, schema=other))

    def test_what_a_module_returns_wrongly_is_refused_and_its_errors_end_nothing(self):
        for returned, words in (
            (numpy.zeros((3, 3)), "actions: found shape (3, 3); valid is (2, 3)"),
            ((numpy.zeros((2, 3)), None), "infer: found no activation"),
            (numpy.zeros((2, 3)), "infer: found no activation"),
            (None, "actions: found None; valid are numbers of shape (2, 3)"),
            ((1, 2, 3), "infer: found a tuple of 3"),
            (numpy.zeros((2, 3), complex), "actions: found array"),
            ([["0.5"] * 3] * 2, "valid are numbers"),
            (numpy.ma.masked_array(numpy.zeros((2, 3)), True), "valid are numbers"),
            ((numpy.zeros((2, 3)), numpy.zeros(3)), "activation: found shape (3,)"),
            ("zeros", "actions: found 'zeros'; valid are numbers of shape (2, 3)"),
        ):
            host = PolicyHost(Blind)
            host.first.infer = lambda _, returned=returned: returned
            self.assertIn(words, self.ask(host))
        host = PolicyHost(Blind)
        host.first.infer = lambda _: 1 / 0
        self.assertIn("Blind: ZeroDivisionError: division by zero", self.ask(host))
        self.assertIn("ZeroDivisionError", host.faults[0])
        self.assertEqual(decode(host.answer(b"nonsense"))[1]["code"], "malformed")
        self.assertIn("Pulse is no question", decode(host.answer(encode("Pulse", {"session": 1, "stamp_ns": 1})))[1]["reason"])

    def test_a_class_that_cannot_be_served_is_refused_by_attribute(self):
        for attribute, value in (
            ("model", "abc"),
            ("horizon", 0),
            ("width", 65),
            ("names", ["a"]),
            ("features", ["joints", "joints"]),
            ("activation", (1, 0)),
            ("activation", None),
            ("cameras", {"front": (0, 2)}),
            ("cameras", {"front": 128}),
            ("cameras", {"": (1, 2)}),
            ("features", ["a" * 600]),
            ("remembers", 1),
        ):
            broken = type("Broken", (Toy,), {attribute: value})
            with self.assertRaisesRegex(TypeError, rf"Broken\.{attribute}: found .*; valid is"):
                check(broken())
        for make in (lambda: None, Toy()):
            with self.assertRaisesRegex(TypeError, "valid is"):
                PolicyHost(make)
        with self.assertRaisesRegex(TypeError, "has no method `infer`"):
            check(type("Silent", (Policy,), {"model": "a" * 64})())

    def test_the_hook_pools_all_axes_but_the_last(self):
        class Tensor:
            detach = float = cpu = lambda self: self
            numpy = lambda self: numpy.arange(12.0).reshape(1, 4, 3)  # noqa: E731

        class Module:
            def register_forward_hook(self, hook):
                self.hook = hook

        module = Module()
        pooled = PooledActivation(module)
        module.hook(module, (), (Tensor(), None))
        self.assertEqual(pooled.value.tolist(), [4.5, 5.5, 6.5])

    def test_a_digest_is_that_of_the_file_or_of_their_list(self):
        self.assertEqual(len(digest(__file__)), 64)
        self.assertNotEqual(digest(__file__), digest(__file__, __file__))
        relative = os.path.relpath(__file__)
        self.assertEqual(digest(__file__, __file__), digest(relative, relative), "wherever the process was started")
        self.assertFalse(math.isnan(int(digest(__file__), 16)))


if __name__ == "__main__":
    unittest.main()
