"""Native LIBERO as a benchmark of vla-eval, in place of its own that needs LIBERO and a container.

    benchmarks:
      - benchmark: "aegis_libero.vla_eval:AegisLIBEROBenchmark"
        mode: sync
        params: {suite: libero_spatial, send_state: true}

Options, observations, actions and what is recorded are those of vla-eval's `LIBEROBenchmark`.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
from vla_eval.benchmarks.libero.benchmark import LIBERO_ENV_RESOLUTION, MAX_STEP_MAPPING, LIBEROBenchmark

from .environment import CAMERAS, LiberoEnv
from .names import rotation

__all__ = ["AegisLIBEROBenchmark"]


class _Environment(LiberoEnv):
    """The methods of robosuite's environment that `LIBEROBenchmark` calls."""

    robots: list

    def _observed(self, vector: np.ndarray) -> dict:
        position, quaternion = (vector[self._layout.places[name]] for name in ("eef_position", "eef_site_quaternion"))
        # What its states for policies of absolute actions are read from.
        pose = {"ee_pos": position, "ee_ori_mat": rotation(quaternion)}
        self.robots = [SimpleNamespace(controller=SimpleNamespace(**pose))]
        return super()._observed(vector)

    def step(self, action: list) -> tuple:
        observation, reward, success, _, info = super().step(action)
        return observation, reward, success, info


class AegisLIBEROBenchmark(LIBEROBenchmark):
    """vla-eval's LIBERO benchmark on native plants. Does not take `absolute_action`."""

    def __init__(self, suite: str = "libero_spatial", **options: Any) -> None:
        super().__init__(suite=suite, **options)
        if self.absolute_action:
            raise ValueError("absolute_action: found true; valid is false, as the native controller takes relative actions")
        self._scenes = LiberoEnv(suite).scenes

    def get_tasks(self) -> list:
        return [
            {"name": self._scenes.instruction(task), "suite": self.suite, "task_id": task} for task in range(self._scenes.task_count)
        ]

    def reset(self, task: dict) -> Any:
        number = task["task_id"]
        if self._env is None or self._current_task_id != number:
            self.cleanup()
            self._env = _Environment(
                self.suite,
                number,
                cameras=CAMERAS if self.send_wrist_image else CAMERAS[:1],
                size=LIBERO_ENV_RESOLUTION,
                names="upstream",
                settle_steps=self.num_steps_wait,
                horizon=self._max_steps or max(MAX_STEP_MAPPING.values()),
            )
            self._current_task_id = number
        observation, _ = self._env.reset(options={"initial_state": task.get("episode_idx", 0)})
        self._recorder.record_video(self._extract_frame(observation))
        return observation
