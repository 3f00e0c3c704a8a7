"""LIBERO on native MuJoCo as gymnasium environments: deterministic, with snapshots, many at once without Python's lock.

    import gymnasium
    import aegis_libero

    env = gymnasium.make("aegis/libero_spatial-v0", task=3)
    observation, info = env.reset(options={"initial_state": 7})
    snapshot = env.unwrapped.snapshot()

The scenes are those that `cargo xtask setup` exports: in the folder that `AEGIS_SCENES` names, or in the cache. Physics and rewards are
LIBERO's, compared with upstream bit for bit; docs/evidence/parity.md has how.
"""

import ctypes
import importlib.util
from pathlib import Path


def _load_mujoco() -> None:
    """Loads MuJoCo's library from its PyPI package, by the name that the native library is linked with."""
    found = importlib.util.find_spec("mujoco")
    if found is None or not found.submodule_search_locations:
        raise ImportError("aegis_libero needs the package mujoco 3.17.0, whose library it steps; `pip install mujoco==3.17.0`")
    folder = Path(found.submodule_search_locations[0])
    library = folder / "libmujoco.so.3.17.0"
    if not library.exists():
        others = ", ".join(sorted(path.name for path in folder.glob("libmujoco.so*"))) or "none"
        raise ImportError(f"{library}: found {others}; valid is that of mujoco 3.17.0: `pip install mujoco==3.17.0`")
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


_load_mujoco()

from .environment import SUITES, EpisodeSnapshot, LiberoEnv, scenes_folder  # noqa: E402
from .names import NAMES  # noqa: E402
from .vector import LiberoVectorEnv  # noqa: E402

__all__ = ["NAMES", "SUITES", "EpisodeSnapshot", "LiberoEnv", "LiberoVectorEnv", "scenes_folder"]


def _register() -> None:
    from gymnasium.envs.registration import register, registry

    for suite in SUITES:
        name = f"aegis/{suite}-v0"
        if name not in registry:
            register(
                id=name,
                entry_point="aegis_libero:LiberoEnv",
                vector_entry_point="aegis_libero:LiberoVectorEnv",
                kwargs={"suite": suite},
                order_enforce=False,  # The environments do so themselves, and LeRobot reads their attributes.
            )


_register()
