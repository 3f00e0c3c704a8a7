"""LIBERO as gymnasium environments: gymnasium's own checker, determinism, snapshots, and what is refused."""

import unittest

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env

import aegis_libero
from aegis_libero import SUITES, LiberoEnv, LiberoVectorEnv


def actions(seed: int, steps: int) -> np.ndarray:
    """Returns actions that move the arm, float32[steps, 7]."""
    return np.random.default_rng(seed).uniform(-1, 1, (steps, 7)).astype(np.float32)


def run(env, moves) -> np.ndarray:
    """Executes actions; returns the states after each, float64[steps, values]."""
    states = []
    for action in moves:
        env.step(action)
        states.append(env.unwrapped.state())
    return np.array(states)


class Single(unittest.TestCase):
    def test_gymnasium_finds_nothing_wrong(self):
        env = gymnasium.make("aegis/libero_spatial-v0", task=2, disable_env_checker=True)
        check_env(env.unwrapped, skip_render_check=True)

    def test_every_suite_is_registered(self):
        for suite in SUITES:
            spec = gymnasium.spec(f"aegis/{suite}-v0")
            self.assertEqual(spec.kwargs["suite"], suite)

    def test_a_seed_is_a_start(self):
        env = LiberoEnv(task=1)
        first, info = env.reset(seed=53)
        self.assertEqual(info["initial_state"], 3, "modulo the recorded initial states")
        run(env, actions(0, 5))
        again, _ = env.reset(options={"initial_state": 3})
        for name, values in first.items():
            np.testing.assert_array_equal(values, again[name])
        other, _ = env.reset(seed=54)
        self.assertFalse(np.array_equal(first["object/plate_1/position"], other["object/plate_1/position"]))

    def test_the_same_actions_give_the_same_states_bit_for_bit(self):
        moves = actions(1, 20)
        states = []
        for _ in range(2):
            env = LiberoEnv(task=0)
            env.reset(seed=7)
            states.append(run(env, moves))
        np.testing.assert_array_equal(*states)

    def test_a_restored_episode_goes_on_bit_for_bit(self):
        env, other = LiberoEnv(task=0), LiberoEnv(task=0)
        env.reset(seed=1)
        run(env, actions(2, 10))
        kept = env.snapshot()
        expected = run(env, actions(3, 10))
        for one in (env, other, env):
            observation = one.restore(kept)
            self.assertTrue(one.observation_space.contains(observation))
            np.testing.assert_array_equal(run(one, actions(3, 10)), expected)

    def test_an_episode_ends_at_its_horizon(self):
        env = LiberoEnv(task=0, horizon=3)
        env.reset(seed=0)
        ends = [env.step(np.zeros(7))[2:4] for _ in range(3)]
        self.assertEqual(ends, [(False, False), (False, False), (False, True)])
        with self.assertRaises(gymnasium.error.ResetNeeded):
            env.step(np.zeros(7))

    def test_sampled_starts(self):
        env = LiberoEnv(task=0, sample_seed=11)
        observation, info = env.reset(options={"initial_state": 60})
        self.assertEqual(info["initial_state"], 60)
        self.assertTrue(env.observation_space.contains(observation))

    def test_refused(self):
        env = LiberoEnv(task=0)
        env.reset(seed=0)
        snapshot = env.snapshot()
        other = LiberoEnv(task=1)
        other.reset(seed=0)
        for call, error, words in (
            (lambda: LiberoEnv(task=10), IndexError, "task: found 10; valid is 0 to 9"),
            (lambda: LiberoEnv(suite="libero_nothing"), FileNotFoundError, "libero_nothing"),
            (lambda: LiberoEnv(render_mode="human"), ValueError, "render_mode"),
            (lambda: env.reset(options={"initial_state": 99}), ValueError, "initial_state: found 99; valid is 0 to 49"),
            (lambda: env.step(np.zeros(3)), ValueError, r"action: found shape \(3,\)"),
            (lambda: env.step(np.full(7, np.nan)), ValueError, "NaN at index 0"),
            (lambda: other.restore(snapshot), ValueError, "snapshot: found one of task 0"),
            (lambda: LiberoVectorEnv(0), ValueError, "num_envs"),
        ):
            with self.subTest(words), self.assertRaisesRegex(error, words):
                call()
        env.close()
        with self.assertRaises(gymnasium.error.ClosedEnvironmentError):
            env.reset()


class Vector(unittest.TestCase):
    def test_many_are_what_single_ones_are(self):
        moves = actions(4, 3 * 12).reshape(12, 3, 7)
        many = LiberoVectorEnv(3, task=0, threads=2)
        observed, info = many.reset(seed=5)
        self.assertEqual(info["initial_state"].tolist(), [5, 6, 7])
        self.assertTrue(many.observation_space.contains(observed))
        singles = [LiberoEnv(task=0) for _ in range(3)]
        for number, env in enumerate(singles):
            env.reset(seed=5 + number)
        for step in moves:
            observed, reward, terminated, truncated, _ = many.step(step)
            for number, env in enumerate(singles):
                alone, alone_reward, *_ = env.step(step[number])
                for name, values in alone.items():
                    np.testing.assert_array_equal(observed[name][number], values, name)
                self.assertEqual((reward[number], terminated[number], truncated[number]), (alone_reward, False, False))

    def test_an_ended_episode_begins_anew_with_the_next_step(self):
        many = LiberoVectorEnv(2, task=0, horizon=2)
        first, _ = many.reset(seed=0)
        for _ in range(2):
            _, _, _, truncated, _ = many.step(np.zeros((2, 7)))
        self.assertTrue(truncated.all())
        observed, reward, terminated, truncated, _ = many.step(np.ones((2, 7)))
        self.assertFalse(truncated.any() or terminated.any() or reward.any())
        expected, _ = LiberoEnv(task=0).reset(seed=2)
        np.testing.assert_array_equal(observed["joint_positions"][0], expected["joint_positions"])
        self.assertFalse(np.array_equal(observed["object/plate_1/position"], first["object/plate_1/position"]))

    def test_gymnasium_makes_them(self):
        many = gymnasium.make_vec("aegis/libero_spatial-v0", num_envs=2, vectorization_mode="vector_entry_point", task=3)
        self.assertEqual(many.action_space.shape, (2, 7))
        many.close()
        with self.assertRaises(gymnasium.error.ClosedEnvironmentError):
            many.reset()


class Package(unittest.TestCase):
    def test_environments_that_are_closed_leave_no_memory(self):
        def resident() -> int:
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4096

        def opened(count: int) -> None:
            for number in range(count):
                env = LiberoEnv(task=0)
                env.reset(seed=number)
                env.close()

        opened(5)
        before = resident()
        opened(40)
        self.assertLess(resident() - before, 64 << 20)

    def test_the_package_says_what_it_is(self):
        self.assertIn("snapshot", aegis_libero.__doc__)


if __name__ == "__main__":
    unittest.main()
