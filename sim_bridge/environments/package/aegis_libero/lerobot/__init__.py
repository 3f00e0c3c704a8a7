"""Environments of type `aegis` for LeRobot's programs.

    lerobot-eval --env.discover_packages_path=aegis_libero.lerobot --env.type=aegis --env.task=libero_spatial …

Options and observations are those of LeRobot's own type `libero`, without LIBERO. LeRobot 0.4 makes one environment of all tasks: the
episode of seed N is of task N modulo the number of tasks, at initial state N divided by it; `--env.task_ids=[3]` is one task. Later
versions ask for an environment of each task. With `--env.obs_type=environment_state_agent_pos`,
policies get `observation.state` and `observation.environment_state` of poses in place of pictures.
"""

from dataclasses import dataclass, field

import gymnasium
from gymnasium.envs.registration import register, registry
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.envs.configs import LiberoEnv as LiberoConfig
from lerobot.utils.constants import ACTION, OBS_ENV_STATE, OBS_STATE

import aegis_libero

__all__ = ["AegisEnv", "LiberoTasks"]

POSES = "environment_state_agent_pos"
# Control steps during which LeRobot lets objects fall after a reset.
SETTLE_STEPS = 10


class LiberoTasks(gymnasium.Env):
    """Several tasks of a suite as one environment: the episode of seed N is of the task at place N modulo their number, at initial state
    N divided by it, rounded down. The tasks need equal observation spaces."""

    metadata = aegis_libero.LiberoEnv.metadata

    def __init__(self, suite: str, tasks: list, **options):
        if not tasks:
            raise ValueError("env.task_ids: found no task; valid is one or more")
        # One plant for all of them: textures for each would take a gigabyte a task.
        self._tasks, self._environment = tasks, aegis_libero.LiberoEnv(suite, tasks[0], **options)
        self.observation_space, self.action_space = self._environment.observation_space, self._environment.action_space
        self.render_mode, self._max_episode_steps = self._environment.render_mode, self._environment.horizon

    @property
    def task(self) -> str:
        return self._environment.instruction

    @property
    def task_description(self) -> str:
        return self._environment.instruction

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        number = int(self.np_random.integers(2**31)) if seed is None else seed
        state, place = divmod(number, len(self._tasks))
        return self._environment.reset(seed=state, options={"task": self._tasks[place], **(options or {})})

    def step(self, action):
        return self._environment.step(action)

    def render(self):
        return self._environment.render()

    def close(self) -> None:
        self._environment.close()


def _register() -> None:
    for suite in aegis_libero.SUITES:
        name = _identifier(suite)
        if name not in registry:
            register(id=name, entry_point=LiberoTasks, kwargs={"suite": suite}, order_enforce=False)


def _identifier(suite: str) -> str:
    return f"aegis/{suite}_tasks-v0"


_register()


@EnvConfig.register_subclass("aegis")
@dataclass
class AegisEnv(LiberoConfig):
    """Settings of native LIBERO under LeRobot."""

    task: str = "libero_spatial"
    fps: int = 20
    obs_type: str = "pixels_agent_pos"
    observation_height: int = 256
    observation_width: int = 256
    features: dict[str, PolicyFeature] = field(
        default_factory=lambda: {ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(7,))}
    )

    def __post_init__(self):
        for name, found, valid in (
            ("task", self.task, tuple(aegis_libero.SUITES)),
            ("obs_type", self.obs_type, ("pixels_agent_pos", POSES)),
            ("control_mode", self.control_mode, ("relative",)),
            ("init_states", self.init_states, (True,)),
            ("observation_width", self.observation_width, (self.observation_height,)),
            ("camera_name_mapping", self.camera_name_mapping, (None,)),
        ):
            if found not in valid:
                raise ValueError(f"env.{name}: found {found!r}; valid is {' or '.join(map(repr, valid))}")
        if self.obs_type == POSES:
            widths = {name: box.shape for name, box in self._one(0).observation_space.items()}
            for name, key, kind in (
                ("agent_pos", OBS_STATE, FeatureType.STATE),
                ("environment_state", OBS_ENV_STATE, FeatureType.ENV),
            ):
                self.features[name] = PolicyFeature(type=kind, shape=widths[name])
                self.features_map[name] = key
        else:
            super().__post_init__()

    @property
    def package_name(self) -> str:
        return "aegis_libero"

    @property
    def gym_id(self) -> str:
        return _identifier(self.task)

    @property
    def gym_kwargs(self) -> dict:
        # LeRobot 0.4 makes environments from an identifier of gymnasium's; later ones call `create_envs`.
        return {"tasks": self._tasks(), **self._options()}

    def create_envs(self, n_envs: int, use_async_envs: bool = False) -> dict:
        """Returns the vector environments of each task, in the form that LeRobot 0.5 and later need."""
        kind = gymnasium.vector.AsyncVectorEnv if use_async_envs and n_envs > 1 else gymnasium.vector.SyncVectorEnv
        made = {
            task: kind(
                [lambda task=task: self._one(task) for _ in range(n_envs)],
                autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
            )
            for task in self._tasks()
        }
        return {self.task: made}

    def _tasks(self) -> list:
        return list(range(self._one(0).scenes.task_count)) if self.task_ids is None else self.task_ids

    def _options(self) -> dict:
        cameras = [name.strip().removesuffix("_image") for name in self.camera_name.split(",") if name.strip()]
        return {
            "names": "poses" if self.obs_type == POSES else "lerobot",
            "cameras": () if self.obs_type == POSES else tuple(cameras),
            "size": self.observation_height,
            "horizon": self.episode_length,
            "settle_steps": SETTLE_STEPS,
            "render_mode": self.render_mode,
        }

    def _one(self, task: int) -> "aegis_libero.LiberoEnv":
        return aegis_libero.LiberoEnv(self.task, task, **self._options())
