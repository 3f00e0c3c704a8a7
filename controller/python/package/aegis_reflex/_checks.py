"""Arguments that are refused before they reach the native library, each by its name."""

import json
import operator
from collections.abc import Mapping

import numpy as np

__all__ = ["counted", "encoded"]

# Largest count of episodes: beyond it, exact tests take minutes.
MOST = 1_000_000_000


def counted(name: str, value, least: int = 0, most: int = MOST) -> int:
    """Returns a whole number, of Python's or NumPy's kind."""
    try:
        found = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: found {value!r}; valid is a whole number, {least} to {most}") from None
    if isinstance(value, (bool, np.bool_)) or not least <= found <= most:
        raise ValueError(f"{name}: found {value!r}; valid is {least} to {most}")
    return found


def encoded(name: str, table: Mapping) -> str:
    """Returns a table of settings as JSON, with NumPy's numbers and arrays as Python's."""
    if not isinstance(table, Mapping):
        raise TypeError(f"{name}: found {type(table).__name__}; valid is a dict of its fields")

    def plain(value):
        if isinstance(value, (np.generic, np.ndarray)):
            return value.tolist()
        raise TypeError(f"{name}: found a value of {type(value).__name__}; valid are numbers, text, lists and dicts")

    try:
        return json.dumps(dict(table), default=plain, allow_nan=False)
    except ValueError:
        raise ValueError(f"{name}: found a number that is not finite in {dict(table)!r}; valid are finite numbers") from None
