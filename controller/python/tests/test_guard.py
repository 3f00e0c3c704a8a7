"""The guard, the fit and the recorder."""

import gzip
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

import numpy as np

from aegis_reflex import ActivationRecorder, Guard, calibrate, defaults, evaluate, fit_probe

ROOT = Path(__file__).resolve().parents[3]
WIDTH, BOUNDARIES = 8, 12


def rollouts(seed: int, episodes: int = 60) -> dict:
    """Returns rollouts whose first value rises in episodes that fail."""
    draw = np.random.default_rng(seed)
    episode, step = np.divmod(np.arange(episodes * BOUNDARIES), BOUNDARIES)
    failed = (draw.random(episodes) < 0.4)[episode]
    activation = draw.normal(size=(len(episode), WIDTH))
    activation[:, 0] += 3.0 * failed
    columns = dict(task=episode % 3, episode=episode, step=10 * step, success=~failed, activation=activation)
    return columns


class Reflex(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = Path(cls.folder.name) / "probe.json"
        cls.content = fit_probe(rollouts(1), cls.path, horizon_steps=120, chunk_steps=10)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def guard(self, **limits) -> Guard:
        return Guard.load(self.path, {"horizon_steps": 120, "chunk_steps": 10, **limits})

    def test_a_fit_separates_what_can_be_separated(self):
        self.assertEqual(json.loads(self.path.read_text())["probe"], self.content["probe"])
        found = evaluate(self.path, rollouts(2))
        self.assertGreater(found["overall"].lower, 0.9)
        self.assertGreater(found["within_task"].lower, 0.9)

    def test_a_score_is_the_logistic_function_of_the_standardised_activation(self):
        probe = self.content["probe"]
        weights, bias = np.array(probe["head"]["weights"]), probe["head"]["bias"]
        activation = np.random.default_rng(3).normal(size=(5, WIDTH)).astype(np.float32)
        decision = self.guard().boundary(0, activation)
        features = (activation.mean(axis=0, dtype=np.float64) - probe["mean"]) / probe["scale"]
        np.testing.assert_allclose(decision.score, 1 / (1 + np.exp(-(weights @ features + bias))), rtol=1e-12)

    def test_the_gate_keeps_its_limits(self):
        guard = self.guard(hold_chunks=2, budget_fraction=0.01)
        alarm, calm = np.full(WIDTH, 0.0), np.full(WIDTH, 0.0)
        alarm[0], calm[0] = 9.0, -9.0
        first = guard.boundary(0, alarm)
        self.assertTrue(first.guarded and not first.fired and first.driver == "weak", "the first fifth of the episode")
        fired = [guard.boundary(step, alarm) for step in range(30, 120, 10)]
        self.assertEqual([one.driver for one in fired][:3], ["strong", "strong", "weak"])
        self.assertEqual(sum(one.fired for one in fired), 1, "a budget of one")
        guard.reset()
        self.assertEqual(guard.boundary(30, calm).driver, "weak")
        self.assertTrue(guard.boundary(40, alarm).handed_over)

    def test_what_is_not_finite_is_the_highest_risk(self):
        decision = self.guard().boundary(60, np.full(WIDTH, np.nan))
        self.assertTrue(np.isnan(decision.score) and decision.fired)

    def test_strided_and_other_types(self):
        wide = np.zeros((WIDTH, 2), dtype=np.float16)
        self.assertEqual(self.guard().boundary(0, wide[:, 0]).score, self.guard().boundary(0, np.zeros(WIDTH)).score)

    def test_refused(self):
        guard = self.guard()
        guard.boundary(10, np.zeros(WIDTH))

        def fit(**settings):
            fit_probe(rollouts(1), self.path.with_name("other.json"), horizon_steps=120, chunk_steps=10, **settings)

        for call, words in (
            (lambda: guard.boundary(10, np.zeros(WIDTH)), "step: found 10 after 10"),
            (lambda: guard.decide(10, 0.5), "step: found 10 after 10"),
            (lambda: guard.decide(20, 1.5), "score: found 1.5; valid is 0 to 1, or NaN"),
            (lambda: guard.decide(20, float("inf")), "score: found inf; valid is 0 to 1, or NaN"),
            (lambda: guard.decide(25, 0.5), "step: found 25; valid is a multiple of 10"),
            (lambda: guard.decide(120, 0.5), "step: found 120; valid is a multiple of 10, .* below 120"),
            (lambda: guard.decide(-10, 0.5), "step: found -10; valid is 0 to"),
            (lambda: guard.boundary(20, np.zeros((0, WIDTH))), "activation: found shape"),
            (lambda: Guard.load(self.path, {"horizon_steps": 220}), "limits.horizon_steps: found 220; valid is 120, for which"),
            (lambda: Guard.load(self.path, {"chunk_steps": 5}), "limits.chunk_steps: found 5; valid is 10, for which"),
            (lambda: self.guard(duty_cap=float("nan")), "limits: found a number that is not finite"),
            (lambda: evaluate(self.path, rollouts(1)), "found the rollouts that .* was made from; valid are others"),
            (lambda: evaluate(self.path, rollouts(2), early_fraction=0.0), "early_fraction: found 0.0; valid is above 0, at most 1"),
            (lambda: fit(limits={"horizon_steps": 60}), "limits: found horizon_steps; valid is the argument horizon_steps="),
            (lambda: fit(fit={"head": "mlp"}), "fit: found head; valid is the argument head="),
            (lambda: fit(fit={"hidden": 10**9}), "fit.hidden: found 1000000000; valid is at most 1024, because weights grow"),
            (lambda: fit(fit={"folds": 10**6}), "fit.folds: found 1000000; valid is at most 100, because each is fitted by a thread"),
            (lambda: fit(seed=-1), "seed: found -1; valid is 0 to"),
            (lambda: guard.boundary(20, np.zeros(3)), r"activation: found shape \[3\]; valid is \(8,\)"),
            (lambda: guard.boundary(20, np.zeros((1, 1, WIDTH))), "activation: found shape"),
            (lambda: guard.boundary(20, ["a"] * WIDTH), "activation: found shape"),
            (lambda: Guard.load(self.path / "no"), "cannot read"),
            (lambda: self.guard(hold=3), "limits: unknown field `hold`"),
            (lambda: self.guard(duty_cap=2), "duty_cap: found 2"),
            (lambda: Guard.load(self.path, rule={"kind": "blind", "schedule": {"at": [3]}, "share": 0.5}), "rule.share: found 0.5"),
            (lambda: Guard.load(self.path, rule={"kind": "magic"}), "rule: unknown variant `magic`"),
            (lambda: Guard.load(self.path, rule={"kind": "disagreement"}), "found disagreement, for which this probe has no threshold"),
            (lambda: fit_probe(rollouts(1), self.path, horizon_steps=120, chunk_steps=7), "step"),
            (lambda: fit_probe({"task": [0]}, self.path, horizon_steps=120, chunk_steps=10), "episode"),
            (lambda: fit_probe(rollouts(1), self.path, horizon_steps=120, chunk_steps=10, head="deep"), "fit: unknown variant"),
        ):
            with self.subTest(words), self.assertRaisesRegex(ValueError, words):
                call()

    def test_thresholds_can_be_set_anew(self):
        out = self.path.with_name("again.json")
        strict = calibrate(self.path, rollouts(5), out, alpha=0.05)
        loose = calibrate(out, rollouts(6), out, alpha=0.4)
        self.assertEqual(strict["probe"], self.content["probe"])
        self.assertEqual((strict["calibrated_on"]["episodes"], loose["settings"]["alpha"]), (60, 0.4))
        self.assertGreater(strict["calibration"]["threshold"], loose["calibration"]["threshold"])
        self.assertEqual(Guard.load(out).chunk_steps, 10)
        for call, words in (
            (lambda: calibrate(out, rollouts(6), out), "found the rollouts that .* was made from; valid are others"),
            (lambda: calibrate(out, rollouts(7), out, alpha=1.5), "fit.alpha: found 1.5; valid is above 0, below 1"),
            (lambda: calibrate(out, rollouts(7), out, limits={"chunk_steps": 5}), "limits: found chunk_steps; valid is none"),
        ):
            with self.subTest(words), self.assertRaisesRegex(ValueError, words):
                call()

    def test_what_the_probe_says_of_its_episodes_is_taken_from_it(self):
        plain, stated = Guard.load(self.path), self.guard()
        self.assertEqual(plain.chunk_steps, 10)
        alarm = np.full(WIDTH, 9.0)
        for step in range(0, 120, 10):
            self.assertEqual(repr(plain.boundary(step, alarm)), repr(stated.boundary(step, alarm)))

    def test_numbers_of_numpy_are_numbers(self):
        out = self.path.with_name("numpy.json")
        steps = {"horizon_steps": np.int64(120), "chunk_steps": np.int32(10)}
        content = fit_probe(rollouts(1), out, **steps, fit={"penalties": np.array([0.1, 1.0])}, seed=np.uint8(0))
        self.assertIn(content["penalty"], (0.1, 1.0))
        Guard.load(out, {"hold_chunks": np.int64(2)})

    def test_defaults_are_those_of_a_plan(self):
        self.assertEqual(defaults()["rule"], {"kind": "conformal"})


class Signals(unittest.TestCase):
    """A signal in the middle of a computation that would take hours: its exception, and nothing written."""

    def interrupted(self, call: str, folder: str) -> None:
        program = f"""
import signal, sys
import numpy as np
import aegis_reflex
from aegis_reflex import statistics

class Rang(Exception):
    pass

def ring(*_):
    raise Rang

signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 0.3)
try:
    {call}
except Rang:
    print("rang")
"""
        ran = subprocess.run([sys.executable, "-B", "-c", program], cwd=folder, env=os.environ, capture_output=True, text=True)
        self.assertEqual((ran.stdout.strip(), ran.returncode), ("rang", 0), ran.stderr)

    def test_statistics(self):
        with tempfile.TemporaryDirectory() as folder:
            # Values that all differ: clusters of equal values would be drawn together, which a fast machine ends before the signal.
            call = "statistics.bootstrap_mean(np.arange(1e6), np.arange(10**6), bootstrap=statistics.Bootstrap(replicates=10**6))"
            self.interrupted(call, folder)

    def test_a_fit_writes_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            np.savez(Path(folder) / "rollouts.npz", **rollouts(1))
            fit = '{"epochs": 100_000, "hidden": 1024}'
            call = f"aegis_reflex.fit_probe('rollouts.npz', 'probe.json', horizon_steps=120, chunk_steps=10, head='mlp', fit={fit})"
            self.interrupted(call, folder)
            self.assertEqual(sorted(path.name for path in Path(folder).iterdir()), ["rollouts.npz"])


class Study(unittest.TestCase):
    """The guard on the logs of the registered study: the same scores and decisions, bit for bit.

    `study_activations.npz` has the activations of the weak policy's episodes from initial state 600, as `aegis collect confirmation`
    records them with the study's plan and that range.
    """

    @classmethod
    def setUpClass(cls):
        cls.plan = tomllib.loads((ROOT / "experiments/study.toml").read_text())
        packed = gzip.decompress((ROOT / "experiments/study/episodes.sqlite.gz").read_bytes())
        with tempfile.NamedTemporaryFile(suffix=".sqlite") as file:
            Path(file.name).write_bytes(packed)
            store = sqlite3.connect(file.name)
            rows = store.execute("SELECT task, initial_state, replicate, arm, result FROM episodes").fetchall()
            store.close()
        cls.episodes = {tuple(row[:4]): json.loads(row[4]) for row in rows}

    def guard(self) -> Guard:
        return Guard.load(ROOT / "policies/models/probe.json", self.plan["gate"], self.plan["rule"])

    def test_scores_are_those_of_the_log(self):
        recorded = np.load(Path(__file__).with_name("study_activations.npz"))
        guard = self.guard()
        for task in range(10):
            rows = recorded["task"] == task
            logged = self.episodes[task, 600, 0, "weak"]["scores"]
            guard.reset()
            found = [guard.boundary(int(step), row).score for step, row in zip(recorded["step"][rows], recorded["activation"][rows])]
            self.assertEqual(found, logged)
            self.assertGreater(len(found), 5)

    def test_decisions_are_those_of_the_log(self):
        guard, chunk, handed = self.guard(), self.plan["gate"]["chunk_steps"], 0
        for (*_, arm), episode in self.episodes.items():
            if arm != "aegis":
                continue
            guard.reset()
            found = [guard.decide(chunk * place, score) for place, score in enumerate(episode["scores"])]
            events = [chunk * place for place, one in enumerate(found) if one.handed_over]
            self.assertEqual(events, episode["hand_overs"])
            self.assertEqual(sum(one.fired for one in found), episode["fires"])
            handed += len(events)
        self.assertGreater(handed, 500)


class Output:
    """What a PyTorch tensor has of the interface that the recorder reads."""

    def __init__(self, values):
        self.values = np.asarray(values)

    detach = float = cpu = lambda self: self

    def numpy(self):
        return self.values


class Module:
    """What a PyTorch module has of the interface that the recorder reads."""

    def __init__(self):
        self.hooks = []

    def register_forward_hook(self, hook):
        self.hooks.append(hook)
        return self

    def remove(self):
        self.hooks.clear()

    def run(self, values):
        for hook in self.hooks:
            hook(self, (), Output(values))


class Recorder(unittest.TestCase):
    def test_what_is_recorded_can_be_fitted(self):
        module, source = Module(), rollouts(4)
        with ActivationRecorder(module) as recorder, tempfile.TemporaryDirectory() as folder:
            for number in range(60):
                recorder.begin(task=f"task {number % 3}", start=number)
                for row in np.flatnonzero(source["episode"] == number):
                    module.run(source["activation"][None, row])
                    recorder.boundary(int(source["step"][row]))
                recorder.end(source["success"][row])
            recorder.begin()
            with self.assertRaisesRegex(RuntimeError, "was not run"):
                recorder.boundary(0)
            recorder.save(Path(folder) / "rollouts.npz")
            content = fit_probe(Path(folder) / "rollouts.npz", Path(folder) / "probe.json", horizon_steps=120, chunk_steps=10)
        self.assertEqual(module.hooks, [], "the hook is gone")
        self.assertEqual(content["foreign"]["task_names"], ["task 0", "task 1", "task 2"])
        self.assertEqual(content["discovery"]["episodes"] + content["calibrated_on"]["episodes"], 60)

    def test_order(self):
        recorder = ActivationRecorder(Module())
        for call in (lambda: recorder.boundary(0), lambda: recorder.end(True), lambda: (recorder.begin(), recorder.begin())):
            with self.assertRaises(RuntimeError):
                call()


if __name__ == "__main__":
    unittest.main()
