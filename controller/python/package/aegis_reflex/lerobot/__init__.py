"""The reflex as a policy of LeRobot's kind: a weak and a strong LeRobot policy with a guard between them.

    from aegis_reflex.lerobot import ReflexConfig, ReflexPolicy

    policy = ReflexPolicy(ReflexConfig(weak="act", strong="smolvla", probe="probe.json", layer="model.decoder.layers.0"))
    policy.save_pretrained("reflex")

The folder is one that LeRobot's programs take as `--policy.path=reflex`, with `--reflex.discover_packages_path=aegis_reflex.lerobot`, by
which they find this package.
"""

from .configuration_reflex import ReflexConfig
from .modeling_reflex import Inner, ReflexPolicy
from .recording import record_episodes

__all__ = ["Inner", "ReflexConfig", "ReflexPolicy", "record_episodes"]
