"""LIBERO as gymnasium environments: gymnasium's own checker, determinism, snapshots, and what is refused."""

import os
import sys
import unittest
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env

import aegis_libero
from aegis_libero import NAMES, SUITES, LiberoEnv, LiberoVectorEnv, scenes_folder

HERE = Path(__file__).resolve().parent
# LeRobot's LIBERO environment, `obs_type="pixels_agent_pos"`.
LEROBOT_STATE = {"eef": ["mat", "pos", "quat"], "gripper": ["qpos", "qvel"], "joints": ["pos", "vel"]}


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

    def test_a_reset_may_change_the_task(self):
        env, other = LiberoEnv(task=0), LiberoEnv(task=6)
        env.reset(seed=1)
        found, info = env.reset(seed=1, options={"task": 6})
        expected, _ = other.reset(seed=1)
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)
        self.assertEqual((env.task, info["instruction"]), (6, other.instruction))
        living = LiberoEnv("libero_10", task=0)
        with self.assertRaisesRegex(ValueError, "task: found 2, whose objects differ from those of task 0"):
            living.reset(options={"task": 2})
        self.assertEqual(living.reset(seed=0)[1]["instruction"], LiberoEnv("libero_10").instruction)

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
            (lambda: LiberoEnv(task=10), ValueError, "task: found 10; valid is 0 to 9"),
            (lambda: LiberoEnv(suite="libero_nothing"), FileNotFoundError, "suite 'libero_nothing': .*valid is one of libero_spatial"),
            (lambda: LiberoEnv(render_mode="human"), ValueError, "render_mode"),
            (lambda: env.reset(options={"initial_state": 99}), ValueError, "initial_state: found 99; valid is 0 to 49"),
            (lambda: env.step(np.zeros(3)), ValueError, r"action: found shape \(3,\)"),
            (lambda: env.step(np.full(7, np.nan)), ValueError, "NaN at index 0"),
            (lambda: other.restore(snapshot), ValueError, "snapshot: found one of task 0 of libero_spatial; valid is one of task 1 of libero_spatial"),
            (lambda: LiberoVectorEnv(0), ValueError, "num_envs"),
            (lambda: LiberoEnv(names="mine"), ValueError, "names: found 'mine'; valid are aegis, upstream, lerobot, poses"),
            (lambda: LiberoEnv(cameras=("top",)).reset(), RuntimeError, "camera: found top; valid is one of frontview"),
            (lambda: LiberoEnv(cameras="agentview"), ValueError, "cameras: found 'agentview'; valid is several names"),
            (lambda: LiberoEnv(horizon=0), ValueError, "horizon: found 0; valid is 1 to"),
            (lambda: LiberoEnv(task=-1), ValueError, "task: found -1; valid is 0 to 9"),
            (lambda: LiberoEnv(task="1"), TypeError, "task: found '1'; valid is a whole number"),
            (lambda: LiberoEnv(size=481), ValueError, "size: found 481; valid is 1 to 480"),
            (lambda: LiberoEnv(cameras=("agentview", "agentview")), ValueError, "valid is each name once"),
            (lambda: LiberoEnv(names="poses", cameras=("agentview",)), ValueError, "which have no pictures"),
            (lambda: LiberoEnv(sample_seed=-1), ValueError, "sample_seed: found -1"),
            (lambda: LiberoEnv("libero_goal", scenes=scenes_folder("libero_spatial")), ValueError, "valid is 'libero_spatial'"),
            (lambda: LiberoEnv(task=0).state(), gymnasium.error.ResetNeeded, "state"),
            (lambda: env.reset(options={"initial_sate": 3}), ValueError, "options: found 'initial_sate'; valid is 'initial_state' or"),
            (lambda: env.reset(options=5), TypeError, "options: found int; valid is a dict"),
            (lambda: env.reset(options={"initial_state": "a"}), TypeError, "initial_state: found 'a'"),
            (lambda: env.step(np.zeros(7, complex)), ValueError, "action: found ndarray of complex128; valid is an array of numbers"),
            (lambda: env.step(np.ma.masked_all(7)), ValueError, "action: found MaskedArray"),
            (lambda: env.step(["a"] * 7), ValueError, "action: found list of"),
            (lambda: LiberoVectorEnv(10**7), ValueError, "num_envs: found 10000000; valid is 1 to 4096"),
            (lambda: LiberoVectorEnv(2, settle_steps=-1), ValueError, "settle_steps: found -1"),
        ):
            with self.subTest(words), self.assertRaisesRegex(error, words):
                call()
        env.close()
        with self.assertRaises(gymnasium.error.ClosedEnvironmentError):
            env.reset()


class Names(unittest.TestCase):
    """Observations under other names: the numbers of upstream's own environment, which runs here too."""

    TASK, STATE = 3, 7

    @classmethod
    def setUpClass(cls):
        sys.path.insert(0, str(HERE.parents[1] / "python"))
        import upstream

        suite = upstream.open_suite("libero_spatial")
        cls.env = upstream.open_task(suite, cls.TASK)
        cls.first = dict(cls.env.set_init_state(suite.get_task_init_states(cls.TASK)[cls.STATE]))

    def test_upstream_names_have_upstreams_numbers(self):
        ours = LiberoEnv(task=self.TASK, names="upstream")
        found, _ = ours.reset(options={"initial_state": self.STATE})
        self.assertTrue(ours.observation_space.contains(found))
        for name, values in found.items():
            np.testing.assert_array_equal(values, self.first[name], name)
        left_out = {name for name in self.first if name not in found}
        self.assertEqual({name for name in left_out if "_to_robot0_eef_" not in name}, {"robot0_proprio-state", "object-state"})
        # After a step, upstream's sensors are two physics steps old; the simulation itself is where ours is.
        for action in actions(5, 5):
            self.env.step(action.astype(float))
            found, *_ = ours.step(action)
        data, dofs = self.env.sim.data, self.env.robots[0]
        np.testing.assert_allclose(found["robot0_joint_pos"], data.qpos[dofs._ref_joint_pos_indexes], atol=1e-12)
        np.testing.assert_allclose(found["robot0_gripper_qvel"], data.qvel[dofs._ref_gripper_joint_vel_indexes], atol=1e-9)
        np.testing.assert_allclose(found["plate_1_pos"], data.get_body_xpos("plate_1_main"), atol=1e-12)
        nested, _ = LiberoEnv(task=self.TASK, names="lerobot").reset(options={"initial_state": self.STATE})
        self.assertEqual(set(nested), {"robot_state"}, "no camera, no pictures")
        mine = LiberoEnv(task=self.TASK, names="lerobot")
        mine.reset(options={"initial_state": self.STATE})
        for action in actions(5, 5):
            nested, *_ = mine.step(action)
        state = nested["robot_state"]
        np.testing.assert_allclose(state["eef"]["mat"], dofs.controller.ee_ori_mat, atol=1e-12)
        np.testing.assert_allclose(state["eef"]["pos"], dofs.controller.ee_pos, atol=1e-12)
        self.assertEqual({name: sorted(parts) for name, parts in state.items()}, LEROBOT_STATE)

    def test_pictures_are_upside_down_where_robosuites_are(self):
        plain, robosuite, theirs = (
            LiberoEnv(task=0, cameras=("agentview", "robot0_eye_in_hand"), size=32, names=names).reset(seed=0)[0]
            for names in ("aegis", "upstream", "lerobot")
        )
        upright = plain["pixels/agentview"]
        np.testing.assert_array_equal(robosuite["agentview_image"], upright[::-1])
        np.testing.assert_array_equal(theirs["pixels"]["image"], upright[::-1])
        np.testing.assert_array_equal(theirs["pixels"]["image2"], plain["pixels/robot0_eye_in_hand"][::-1])

    def test_poses_are_the_columns_of_the_data_sets(self):
        found, _ = LiberoEnv(task=4, names="poses").reset(seed=2)
        plain, _ = LiberoEnv(task=4).reset(seed=2)
        self.assertEqual((found["agent_pos"].shape, found["environment_state"].shape), ((18,), (70,)))
        x, y, z, w = plain["eef_site_quaternion"]
        first = [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)]
        np.testing.assert_allclose(found["agent_pos"][:6], [*plain["eef_position"], *first], atol=1e-15)
        around = found["environment_state"]
        position = plain["object/akita_black_bowl_1/position"]
        np.testing.assert_array_equal(around[:6], [*position, *(position - plain["eef_position"])])
        np.testing.assert_array_equal(around[60:], np.eye(10)[4])

    def test_every_kind_of_names_is_one_space_alone_and_together(self):
        for names in NAMES:
            with self.subTest(names):
                many = LiberoVectorEnv(2, task=0, names=names, settle_steps=2)
                together, _ = many.reset(seed=3)
                self.assertTrue(many.observation_space.contains(together))
                for number in range(2):
                    one = LiberoEnv(task=0, names=names, settle_steps=2)
                    check_env(one, skip_render_check=True)
                    alone, _ = one.reset(seed=3 + number)
                    same(self, alone, together, number)

    def test_settling_is_standing_still_before_the_first_observation(self):
        settled, plain = LiberoEnv(task=0, settle_steps=5), LiberoEnv(task=0)
        settled.reset(seed=0), plain.reset(seed=0)
        run(plain, np.tile([0, 0, 0, 0, 0, 0, -1.0], (5, 1)))
        np.testing.assert_array_equal(settled.state(), plain.state())


def same(test: unittest.TestCase, alone, together, number: int) -> None:
    """Asserts that an observation is one of those of several environments."""
    for name, values in alone.items():
        if isinstance(values, dict):
            same(test, values, together[name], number)
        else:
            np.testing.assert_array_equal(together[name][number], values, name)


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
        observed, reward, terminated, truncated, info = many.step(np.ones((2, 7)))
        self.assertFalse(truncated.any() or terminated.any() or reward.any())
        self.assertEqual(info["initial_state"].tolist(), [2, 3])
        expected, _ = LiberoEnv(task=0).reset(seed=2)
        np.testing.assert_array_equal(observed["joint_positions"][0], expected["joint_positions"])
        self.assertFalse(np.array_equal(observed["object/plate_1/position"], first["object/plate_1/position"]))

    def test_one_episode_forks_into_many(self):
        many, alone = LiberoVectorEnv(3, task=0), LiberoEnv(task=0)
        alone.reset(seed=4)
        run(alone, actions(6, 8))
        kept = alone.snapshot()
        observed = many.restore(kept)
        self.assertTrue(many.observation_space.contains(observed))
        branches = actions(7, 3 * 6).reshape(3, 6, 7)
        for step in range(6):
            observed, *_ = many.step(branches[:, step])
        for number in range(3):
            alone.restore(kept)
            for action in branches[number]:
                found, *_ = alone.step(action)
            np.testing.assert_array_equal(found["joint_positions"], observed["joint_positions"][number])
        alone.restore(many.snapshot(2))
        np.testing.assert_array_equal(alone.step(np.zeros(7))[0]["eef_position"], many.step(np.zeros((3, 7)))[0]["eef_position"][2])
        for call, error, words in (
            (lambda: many.restore([kept]), ValueError, "snapshots: found 1; valid is one, or 3"),
            (lambda: many.restore([kept, kept, "kept"]), TypeError, "snapshot: found str; valid is what snapshot"),
            (lambda: LiberoVectorEnv(1, task=1).restore(kept), ValueError, "snapshot: found one of task 0 of libero_spatial; valid is one of task 1 of"),
            (lambda: LiberoVectorEnv(1, task=1).snapshot(0), gymnasium.error.ResetNeeded, "environment 0: no episode is on"),
        ):
            with self.subTest(words), self.assertRaisesRegex(error, words):
                call()

    def test_what_is_refused_has_changed_nothing(self):
        many = LiberoVectorEnv(3, task=0, threads=2)
        many.reset(seed=0)
        many.step(np.zeros((3, 7)))
        before = [many._plants.state(number).tolist() for number in range(3)]
        bad = np.zeros((3, 7))
        bad[2, 0] = np.nan
        for call, error, words in (
            (lambda: many.step(bad), ValueError, "environment 2: action: .*NaN at index 0"),
            (lambda: many.step(np.zeros((2, 7))), ValueError, r"actions: found shape \(2, 7\)"),
            (lambda: many.step(np.zeros((3, 7), object)), ValueError, "actions: found ndarray of object"),
            (lambda: many.reset(options={"initial_state": [7, 8, 99]}), ValueError, "initial_state: found 99; valid is 0 to 49"),
            (lambda: many.reset(options={"initial_state": [7, 8]}), ValueError, "initial_state: found 2 values; valid is 3"),
            (lambda: many.reset(options={"task": 1}), ValueError, "options: found 'task'; valid is 'initial_state'"),
            (lambda: many.reset(seed=[1, 2]), ValueError, "seed: found 2 values; valid is 3"),
            (lambda: many.reset(seed=[1, None, 3]), TypeError, "seed: found None"),
            (lambda: many.reset(seed=1.5), TypeError, "seed: found 1.5; valid is a whole number, or a list of 3"),
            (lambda: many.snapshot(-1), ValueError, "number: found -1; valid is 0 to 2"),
        ):
            with self.subTest(words), self.assertRaisesRegex(error, words):
                call()
        self.assertEqual([many._plants.state(number).tolist() for number in range(3)], before)
        alone = LiberoEnv(task=0)
        alone.reset(seed=0)
        with self.assertRaises(ValueError):
            alone.reset(options={"task": 4, "initial_state": 99})
        self.assertEqual((alone.task, alone.snapshot().task), (0, 0))

    def test_seeds_of_numpy_are_seeds(self):
        many = LiberoVectorEnv(3, task=0)
        for seed, expected in ((np.int64(3), [3, 4, 5]), (np.array([9, 8, 7]), [9, 8, 7]), ([50, 51, 1], [0, 1, 1])):
            self.assertEqual(many.reset(seed=seed)[1]["initial_state"].tolist(), expected)

    def test_gymnasium_makes_them(self):
        many = gymnasium.make_vec("aegis/libero_spatial-v0", num_envs=2, vectorization_mode="vector_entry_point", task=3, max_episode_steps=9)
        self.assertEqual(many.unwrapped.horizon, 9)
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

        opened(200)
        before = resident()
        opened(1000)
        self.assertLess(resident() - before, 16 << 20)

    def test_many_at_once_leave_no_memory_either(self):
        with open("/proc/self/statm") as file:
            before = int(file.read().split()[1])
        for _ in range(3):
            many = LiberoVectorEnv(100, task=0)
            many.reset(seed=0)
            many.step(np.zeros((100, 7)))
            many.close()
        with open("/proc/self/statm") as file:
            # One round of them takes 150 MB.
            self.assertLess((int(file.read().split()[1]) - before) * 4096, 100 << 20)

    def test_drawing_leaves_no_memory(self):
        def resident() -> int:
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4096

        kept = LiberoEnv(task=0, cameras=("agentview",), size=16)  # So that the textured scene is compiled once.
        sizes = []
        for _ in range(5):
            env = LiberoEnv(task=0, cameras=("agentview",), size=16)
            env.reset(seed=0)
            env.close()
            sizes.append(resident())
        # Textures in OpenGL take 200 to 300 MB.
        self.assertLess(sizes[-1] - sizes[0], 400 << 20)
        kept.close()

    def test_a_fork_of_a_process_that_drew_is_refused_and_does_not_hang(self):
        env = LiberoEnv(task=0, cameras=("agentview",), size=16)
        env.reset(seed=0)
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            try:
                env.reset(seed=1)
            except RuntimeError as error:
                os.write(writer, str(error).encode())
            os._exit(0)
        os.waitpid(child, 0)
        self.assertIn("forked from one that drew pictures; valid is a new process", os.read(reader, 1000).decode())
        os.close(reader), os.close(writer)
        env.close()

    def test_the_package_says_what_it_is(self):
        self.assertIn("snapshot", aegis_libero.__doc__)


if __name__ == "__main__":
    unittest.main()
