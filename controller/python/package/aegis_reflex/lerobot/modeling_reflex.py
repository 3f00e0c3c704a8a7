"""The reflex as a LeRobot policy."""

import shutil
from collections import deque
from pathlib import Path

import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor, nn

from ..guard import Decision, Guard
from ..recorder import ActivationRecorder
from .configuration_reflex import ReflexConfig
from .processor_reflex import make_reflex_pre_post_processors

__all__ = ["Inner", "ReflexPolicy"]


class Inner(nn.Module):
    """A pretrained LeRobot policy with its processors, which is asked for whole chunks."""

    def __init__(self, path: Path, device: str, n_action_steps: int):
        super().__init__()
        if not (path / "config.json").is_file():
            raise FileNotFoundError(f"{path}: found no config.json; valid is the folder of a pretrained LeRobot policy")
        config = PreTrainedConfig.from_pretrained(path)
        config.device, config.pretrained_path = device, path
        length = getattr(config, "chunk_size", None) or getattr(config, "n_action_steps", n_action_steps)
        ensemble = getattr(config, "temporal_ensemble_coeff", None)
        for name, found, is_valid, valid in (
            ("n_obs_steps", config.n_obs_steps, config.n_obs_steps == 1, "1: a chunk follows from one observation"),
            ("chunk_size", length, length >= n_action_steps, f"{n_action_steps} or more, the reflex's n_action_steps"),
            ("temporal_ensemble_coeff", ensemble, ensemble is None, "null: whole chunks are executed"),
        ):
            if not is_valid:
                raise ValueError(f"{path}/config.json: {name}: found {found}; valid is {valid}")
        self.path, self.n_action_steps = path, n_action_steps
        self.policy = get_policy_class(config.type).from_pretrained(path, config=config)
        self._before, self._after = make_pre_post_processors(
            config, pretrained_path=str(path), preprocessor_overrides={"device_processor": {"device": device}}
        )

    def module(self, layer: str) -> nn.Module:
        """Returns a module of the policy by its name in `named_modules()`."""
        modules = dict(self.policy.named_modules())
        if layer not in modules or not layer:
            some = ", ".join([name for name in modules if name.count(".") <= 2 and name][:12])
            raise ValueError(f"layer: found {layer!r}; valid is a module of the weak policy, such as {some}")
        return modules[layer]

    @torch.no_grad()
    def chunk(self, observation: dict) -> list[Tensor]:
        """Returns the first `n_action_steps` actions, each `[1, action]` in the plant's units, for an observation `[1, …]` as LeRobot's
        environments give it, before the policy's own processor."""
        actions = self.policy.predict_action_chunk(self._before(dict(observation)))[:, : self.n_action_steps]
        return [self._after(actions[:, step]) for step in range(actions.shape[1])]


class Lane:
    """One of the episodes that run side by side."""

    def __init__(self, guard: Guard):
        self.guard, self.step = guard, 0
        self.actions: deque[Tensor] = deque()
        self.decisions: list[Decision] = []


class ReflexPolicy(PreTrainedPolicy):
    """A weak policy, a strong policy that takes over from it, and the guard that decides, at every chunk.

    Each episode of a batch has a guard of its own and is inferred alone, so that nothing in it depends on how many run beside it.
    `decisions` has what the guards decided since the last reset, one list for each episode. The strong policy is asked only where it
    drives.
    """

    config_class = ReflexConfig
    name = "reflex"

    def __init__(self, config: ReflexConfig, **_):
        super().__init__(config)
        self.folder = Path(config.pretrained_path or ".")
        self.weak = Inner(self._path("weak"), config.device, config.n_action_steps)
        self.strong = Inner(self._path("strong"), config.device, config.n_action_steps)
        self._recorder = ActivationRecorder(self.weak.module(config.layer)).__enter__()
        self._limits = {**config.limits, "chunk_steps": config.n_action_steps}
        self._guard()
        self.reset()

    def _path(self, name: str) -> Path:
        given = getattr(self.config, name)
        if not given:
            raise ValueError(f"{name}: found nothing; valid is a path")
        return self.folder / given

    def _guard(self) -> Guard:
        return Guard.load(self._path("probe"), self._limits, self.config.rule)

    @property
    def decisions(self) -> list[list[Decision]]:
        return [lane.decisions for lane in self._lanes]

    def reset(self) -> None:
        """Begins new episodes; how many, the next observation says."""
        self._lanes: list[Lane] = []
        for inner in (self.weak, self.strong):
            inner.policy.reset()

    @torch.no_grad()
    def select_action(self, batch: dict[str, Tensor], **_) -> Tensor:
        """Returns the next action of each episode, `[episodes, action]`, for an observation with a first axis of episodes."""
        count = next(value.shape[0] for name, value in batch.items() if name.startswith("observation.") and isinstance(value, Tensor))
        if not self._lanes:
            self._lanes = [Lane(self._guard()) for _ in range(count)]
        if count != len(self._lanes):
            raise ValueError(f"batch: found {count} episodes; valid are the {len(self._lanes)} that began, or reset()")
        return torch.cat([self._next(lane, alone(batch, number, count)) for number, lane in enumerate(self._lanes)])

    def _next(self, lane: Lane, observation: dict) -> Tensor:
        if not lane.actions:
            actions = self.weak.chunk(observation)
            decision = lane.guard.boundary(lane.step, self._recorder.pooled)
            lane.decisions.append(decision)
            lane.actions.extend(self.strong.chunk(observation) if decision.driver == "strong" else actions)
        lane.step += 1
        return lane.actions.popleft()

    def predict_action_chunk(self, batch: dict[str, Tensor], **_) -> Tensor:
        raise NotImplementedError("a reflex hands over between chunks; valid is select_action")

    def forward(self, batch: dict[str, Tensor]):
        raise NotImplementedError("a reflex is not trained; valid is training its two policies, and fitting its probe")

    def get_optim_params(self) -> dict:
        raise NotImplementedError("a reflex is not trained; valid is training its two policies, and fitting its probe")

    def _save_pretrained(self, save_directory: Path) -> None:
        """Writes the configuration, which names the two policies by absolute paths, the processors, and a copy of the probe."""
        config = ReflexConfig(
            **{
                **vars(self.config),
                "weak": str(self.weak.path.resolve()),
                "strong": str(self.strong.path.resolve()),
                "probe": "probe.json",
                "pretrained_path": None,
            }
        )
        if self._path("probe").resolve() != (save_directory / "probe.json").resolve():
            shutil.copyfile(self._path("probe"), save_directory / "probe.json")
        for processor in make_reflex_pre_post_processors(config):
            processor.save_pretrained(save_directory)
        config._save_pretrained(save_directory)

    @classmethod
    def from_pretrained(cls, pretrained_name_or_path, *, config: ReflexConfig | None = None, **kwargs) -> "ReflexPolicy":
        """Reads a folder that `save_pretrained` wrote. The weights are those of the two policies' own folders."""
        config = config or PreTrainedConfig.from_pretrained(pretrained_name_or_path)
        config.pretrained_path = Path(pretrained_name_or_path)
        return cls(config, **kwargs).to(config.device).eval()


def alone(batch: dict, number: int, count: int) -> dict:
    """Returns the part of a batch that belongs to one of its episodes, as a batch of one."""

    def part(value):
        if isinstance(value, Tensor) and value.ndim and value.shape[0] == count:
            return value[number : number + 1]
        return value[number : number + 1] if isinstance(value, list) and len(value) == count else value

    return {name: part(value) for name, value in batch.items()}
