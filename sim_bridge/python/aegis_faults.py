"""What goes wrong in a plant's own methods, in words for whoever wrote it: each method's faults at most once a second,
however often they happen. Pure: time comes in as a value."""

import traceback
from pathlib import Path

from aegis_wire import decode, encode

TELL_EVERY_NS = 1_000_000_000  # Between two tellings of one method's faults.
AFTER_STOP = "it is called again until it works; until then the plant may move, so use its own emergency stop"


class Faults:
    """The faults of one plant that people have not been told of yet."""

    def __init__(self):
        self._untold, self._told_at = {}, {}  # By method: (count, newest) and when it was told of.

    def add(self, method: str, text: str) -> None:
        """Keeps a fault of a method; the newest stands for all before it."""
        self._untold[method] = self._untold.get(method, (0, ""))[0] + 1, text

    def tell(self, now: int) -> list[str]:
        """Returns a line for each method whose faults are to be told of at `now`."""
        is_due = lambda method: now - self._told_at.get(method, now - TELL_EVERY_NS) >= TELL_EVERY_NS  # noqa: E731
        lines = []
        for method in filter(is_due, list(self._untold)):
            count, text = self._untold.pop(method)
            self._told_at[method] = now
            lines.append(text if count == 1 else f"{text} ({count} times since the last line about it)")
        return lines


def raised(method: str, error: Exception) -> str:
    """Says what a method raised, and where."""
    what = " ".join("".join(traceback.format_exception_only(error)).split())[:500]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    after = f"; {AFTER_STOP}" if method == "stop" else ""
    return f"`{method}` raised {what}{where}{after}"


class Unfit(ValueError):
    """A method returned what the protocol has no place for."""


def transition(method: str, found) -> tuple:
    """The observation and whether the goal holds, of what `step` or `hold` returned."""
    if isinstance(found, tuple | list) and len(found) == 2:
        return tuple(found)
    valid = "expected (observation, success), as `return self.observation(), False`"
    raise Unfit(f"`{method}` returned {found!r:.120}; {valid}")


def message(method: str, name: str, fields: dict) -> bytes:
    """The message with what `method` returned, read again as its receiver will; Unfit names the field at fault."""
    try:
        data = encode(name, fields)
        decode(data)
    except (TypeError, ValueError, OverflowError) as error:
        raise Unfit(f"`{method}` returned what the protocol does not allow: {error} (docs/protocol.md, {name})") from error
    return data
