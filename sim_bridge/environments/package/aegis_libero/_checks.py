"""Arguments that are refused before they reach the native library, each by its name."""

import operator
from collections.abc import Mapping

import numpy as np

__all__ = ["SIZE", "acted", "check_settings", "counted", "known"]

# Largest pictures: the rows of MuJoCo's off-screen buffer in LIBERO's scenes.
SIZE = 480


def counted(name: str, value, least: int, most: int) -> int:
    """Returns a whole number, of Python's or NumPy's kind."""
    try:
        found = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: found {value!r}; valid is a whole number, {least} to {most}") from None
    if isinstance(value, (bool, np.bool_)) or not least <= found <= most:
        raise ValueError(f"{name}: found {value!r}; valid is {least} to {most}")
    return found


def known(options, names: tuple) -> dict:
    """Returns the options of a reset; refuses those that it does not have."""
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"options: found {type(options).__name__}; valid is a dict")
    found = dict(options or {})
    if unknown := [name for name in found if name not in names]:
        raise ValueError(f"options: found {unknown[0]!r}; valid is {' or '.join(map(repr, names))}")
    return found


def acted(name: str, action, shape: tuple) -> np.ndarray:
    """Returns actions as float64 of this shape."""
    found = np.asarray(action)
    if found.dtype.kind not in "fiub" or isinstance(action, np.ma.MaskedArray):
        raise ValueError(f"{name}: found {type(action).__name__} of {found.dtype}; valid is an array of numbers")
    if found.shape != shape:
        raise ValueError(f"{name}: found shape {found.shape}; valid is {shape}")
    return np.ascontiguousarray(found, dtype=np.float64)


def check_settings(cameras, size: int, names: str, horizon, settle_steps, sample_seed) -> None:
    """Refuses settings that no environment can have."""
    if isinstance(cameras, str):
        raise ValueError(f"cameras: found {cameras!r}; valid is several names, such as ({cameras!r},)")
    if len(set(cameras)) != len(cameras):
        raise ValueError(f"cameras: found {tuple(cameras)}; valid is each name once")
    if names == "poses" and cameras:
        raise ValueError(f"cameras: found {tuple(cameras)} with names='poses', which have no pictures; valid is ()")
    counted("size", size, 1, SIZE)
    if horizon is not None:
        counted("horizon", horizon, 1, 10**9)
    counted("settle_steps", settle_steps, 0, 10_000)
    if sample_seed is not None:
        counted("sample_seed", sample_seed, 0, 2**64 - 1)
