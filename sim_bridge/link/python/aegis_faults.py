"""Faults of a plant's own methods, as messages for the plant's author: each method's faults are reported at most once a
second. Pure: time comes in as a value."""

import traceback
from pathlib import Path

from aegis_schema import packed
from aegis_wire import decode, encode

TELL_EVERY_NS = 1_000_000_000  # Minimum time between two reports of one method's faults.
AFTER_STOP = "it is called again until it works; until then the plant may move, so use its own emergency stop"


class Faults:
    """The faults of one plant that have not been reported yet."""

    def __init__(self):
        self._untold, self._told_at = {}, {}  # By method: (count, newest text), and the time of the last report.

    def add(self, method: str, text: str) -> None:
        """Counts a fault of a method; only the newest text is kept."""
        self._untold[method] = self._untold.get(method, (0, ""))[0] + 1, text

    def tell(self, now: int) -> list[str]:
        """Returns a line for each method whose faults are to be reported at `now`."""
        is_due = lambda method: now - self._told_at.get(method, now - TELL_EVERY_NS) >= TELL_EVERY_NS  # noqa: E731
        lines = []
        for method in filter(is_due, list(self._untold)):
            count, text = self._untold.pop(method)
            self._told_at[method] = now
            lines.append(text if count == 1 else f"{text} ({count} times since the last line about it)")
        return lines


def raised(method: str, error: Exception) -> str:
    """Returns a text that states what a method raised, and where."""
    what = " ".join("".join(traceback.format_exception_only(error)).split())[:500]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    after = f"; {AFTER_STOP}" if method == "stop" else ""
    return f"`{method}` raised {what}{where}{after}"


class Unfit(ValueError):
    """A method returned a value that the protocol does not allow."""


def transition(method: str, found) -> tuple:
    """Returns the observation, and whether the goal is met, from the value that `step` or `hold` returned; raises Unfit for
    any other value."""
    if isinstance(found, tuple | list) and len(found) == 2:
        return tuple(found)
    valid = "expected (observation, success), as `return self.observation(), False`"
    raise Unfit(f"`{method}` returned {found!r:.120}; {valid}")


def observed(method: str, moved: dict, features: list, observation) -> bytes:
    """Encodes a Moved with the observation that `method` returned, whose values are packed in the order of the features. Raises
    Unfit, which names the faulty field."""
    wire = observation
    if isinstance(observation, dict) and "values" in observation:
        try:
            wire = {**observation, "values": packed(features, observation["values"])}
        except ValueError as error:
            raise Unfit(f"`{method}` returned an observation that it did not announce: {error} (aegis_schema.py)") from error
    return message(method, "Moved", {**moved, "observation": wire})


def message(method: str, name: str, fields: dict) -> bytes:
    """Encodes a message with the value that `method` returned, and decodes it again as its receiver will. Raises Unfit, which
    names the faulty field."""
    try:
        data = encode(name, fields)
        decode(data)
    except (TypeError, ValueError, OverflowError) as error:
        raise Unfit(f"`{method}` returned what the protocol does not allow: {error} (docs/reference/protocol.md, {name})") from error
    return data
