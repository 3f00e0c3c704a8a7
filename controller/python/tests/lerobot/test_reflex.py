"""The reflex as a LeRobot policy, with policies of LeRobot's own class. Needs LeRobot; `sim_bridge/environments/evaluators.sh` runs it.

    python -m unittest discover -s controller/python/tests/lerobot
"""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors

from aegis_reflex import fit_probe
from aegis_reflex.lerobot import ReflexConfig, ReflexPolicy
from random_act import write

LAYER, STEPS = "model.decoder.layers.0", 60


def observation(seed: int, episodes: int) -> dict:
    """Returns an observation of poses, the same for an episode however many there are."""
    parts = [np.random.default_rng([seed, number]).normal(size=88) for number in range(episodes)]
    values = torch.tensor(np.array(parts), dtype=torch.float32)
    return {"observation.state": values[:, :18], "observation.environment_state": values[:, 18:], "task": ["go"] * episodes}


def alone(folder: Path, episodes: int) -> np.ndarray:
    """Returns the actions of a pretrained policy by LeRobot's own `select_action`, one episode at a time: `[episodes, steps, action]`."""
    config = PreTrainedConfig.from_pretrained(folder)
    policy = get_policy_class(config.type).from_pretrained(folder, config=config)
    before, after = make_pre_post_processors(config, pretrained_path=str(folder))
    found = []
    for number in range(episodes):
        policy.reset()
        steps = []
        for step in range(STEPS):
            batch = observation(step, number + 1)
            one = {name: value[number : number + 1] for name, value in batch.items()}
            with torch.inference_mode():
                steps.append(after(policy.select_action(before(one)))[0].numpy())
        found.append(steps)
    return np.array(found)


def together(policy: ReflexPolicy, episodes: int) -> np.ndarray:
    policy.reset()
    return np.array([policy.select_action(observation(step, episodes)).numpy() for step in range(STEPS)]).swapaxes(0, 1)


class Reflex(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name)
        for name, seed in (("weak", 1), ("strong", 2)):
            write(cls.folder / name, seed, pictures=False)
        draw = np.random.default_rng(0)
        episode, place = np.divmod(np.arange(60 * 6), 6)
        failed = (draw.random(60) < 0.5)[episode]
        activation = draw.normal(size=(len(episode), 32)) + 0.5 * failed[:, None]
        rows = {"task": episode % 2, "episode": episode, "step": 10 * place, "success": ~failed, "activation": activation}
        fit_probe(rows, cls.folder / "probe.json", horizon_steps=STEPS, chunk_steps=10)
        cls.weak, cls.strong = (alone(cls.folder / name, 3) for name in ("weak", "strong"))

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def reflex(self, **settings) -> ReflexPolicy:
        limits = {"horizon_steps": STEPS, "guard_fraction": 0.3, "hold_chunks": 2, "budget_fraction": 0.5, "duty_cap": 1.0}
        settings = {"rule": {"kind": "conformal"}, "layer": LAYER, "limits": limits, **settings}
        paths = {name: str(self.folder / name) for name in ("weak", "strong")}
        return ReflexPolicy(ReflexConfig(**{**paths, "probe": str(self.folder / "probe.json"), "device": "cpu", **settings}))

    def test_without_fires_it_is_the_weak_policy_bit_for_bit(self):
        policy = self.reflex(rule={"kind": "never"})
        np.testing.assert_array_equal(together(policy, 3), self.weak)
        self.assertTrue(all(one.driver == "weak" for lane in policy.decisions for one in lane))

    def test_each_chunk_is_of_the_policy_that_the_guard_named(self):
        policy = self.reflex(rule={"kind": "blind", "schedule": {"at": [2]}})
        found = together(policy, 3)
        drivers = [[one.driver for one in lane] for lane in policy.decisions]
        self.assertEqual(drivers, [["weak"] * 2 + ["strong"] * 2 + ["weak"] * 2] * 3)
        np.testing.assert_array_equal(found[:, :20], self.weak[:, :20])
        np.testing.assert_array_equal(found[:, 20:40], self.strong[:, 20:40])
        np.testing.assert_array_equal(found[:, 40:], self.weak[:, 40:])
        self.assertFalse(np.array_equal(self.weak, self.strong))

    def test_an_episode_does_not_depend_on_how_many_run_beside_it(self):
        policy = self.reflex()
        three, scores = together(policy, 3), [[one.score for one in lane] for lane in policy.decisions]
        one = together(policy, 1)
        np.testing.assert_array_equal(one[0], three[0])
        self.assertEqual([item.score for item in policy.decisions[0]], scores[0])

    def test_a_saved_one_is_read_again(self):
        policy = self.reflex()
        policy.save_pretrained(self.folder / "reflex")
        config = PreTrainedConfig.from_pretrained(self.folder / "reflex")
        again = get_policy_class(config.type).from_pretrained(self.folder / "reflex", config=config)
        np.testing.assert_array_equal(together(again, 2), together(policy, 2))
        before, after = make_pre_post_processors(config, pretrained_path=str(self.folder / "reflex"))
        batch = observation(0, 2)
        torch.testing.assert_close(before(dict(batch))["observation.state"], batch["observation.state"], rtol=0, atol=0)

    def test_refused(self):
        for settings, error, words in (
            ({"layer": "nothing"}, ValueError, "layer: found 'nothing'; valid is a module of the weak policy, such as model"),
            ({"weak": str(self.folder)}, FileNotFoundError, "found no config.json; valid is the folder"),
            ({"weak": ""}, ValueError, "weak: found nothing; valid is a path"),
            ({"n_action_steps": 11}, ValueError, "chunk_size: found 10; valid is 11 or more"),
            ({"limits": {"hold": 3}}, ValueError, "limits: unknown field `hold`"),
            ({"probe": str(self.folder / "weak/config.json")}, ValueError, "config.json"),
        ):
            with self.subTest(words), self.assertRaisesRegex(error, words):
                self.reflex(**settings)
        policy = self.reflex()
        policy.select_action(observation(0, 2))
        with self.assertRaisesRegex(ValueError, "batch: found 3 episodes; valid are the 2 that began"):
            policy.select_action(observation(1, 3))


if __name__ == "__main__":
    unittest.main()
