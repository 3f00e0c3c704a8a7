"""Settings of the reflex as a LeRobot policy."""

from dataclasses import dataclass, field
from typing import Any

from lerobot.configs.policies import PreTrainedConfig

__all__ = ["ReflexConfig"]


@PreTrainedConfig.register_subclass("reflex")
@dataclass
class ReflexConfig(PreTrainedConfig):
    """Two LeRobot policies and the guard between them.

    `weak` and `strong` are folders of pretrained policies, `probe` is a probe file; relative ones are beside the configuration. `layer` is
    the module of the weak policy that the probe was fitted on, by its name in `named_modules()`. `n_action_steps` is how many actions of
    a chunk are executed, of either policy. `limits` and `rule` are as `Guard.load` takes them; `horizon_steps` belongs to `limits`.
    """

    weak: str = ""
    strong: str = ""
    probe: str = ""
    layer: str = ""
    n_action_steps: int = 10
    limits: dict[str, Any] = field(default_factory=dict)
    rule: dict[str, Any] = field(default_factory=lambda: {"kind": "conformal"})

    @property
    def observation_delta_indices(self) -> None:
        return None

    @property
    def action_delta_indices(self) -> list:
        return list(range(self.n_action_steps))

    @property
    def reward_delta_indices(self) -> None:
        return None

    def get_optimizer_preset(self):
        raise NotImplementedError("a reflex is not trained; valid is training its two policies, and fitting its probe")

    def get_scheduler_preset(self):
        return None

    def validate_features(self) -> None:
        """Accepts all features: the two policies check theirs when they are loaded."""
