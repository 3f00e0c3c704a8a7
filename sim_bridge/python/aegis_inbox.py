"""Messages that wait for a plant while it moves: bounded by number and by size, with a count of all that found no place.
Zenoh's threads put in and the plant's thread takes out; no kind of message can crowd out another."""

import threading
from collections import deque
from dataclasses import dataclass, field

MAX_TO_PLANT = 4096  # Bytes of a message to a plant.
REQUESTS = 64  # Requests that may wait. One that finds no place is dropped, for whoever asked asks again.
ACTIONS = 64  # Actions that may wait. The oldest gives way, for the plant moves with the newest.
PULSES = 256  # Heartbeats that may wait. The oldest gives way, for the newest says more.


@dataclass
class Batch:
    """Every heartbeat and action, oldest first, and one request, so that each kind gets its turn."""

    pulses: list = field(default_factory=list)  # (bytes, arrival)
    actions: list = field(default_factory=list)  # (bytes, arrival)
    request: tuple | None = None  # (query, arrival)
    crowded_out: int = 0  # Messages that found no place since the last batch.
    oversized: int = 0  # Messages since the last batch that are larger than MAX_TO_PLANT.

    def is_empty(self) -> bool:
        """Returns whether no message had come."""
        return not (self.pulses or self.actions or self.request)


class Inbox:
    """A bounded inbox for messages with their arrival times."""

    def __init__(self):
        self._arrived = threading.Condition()
        self._requests, self._pulses, self._actions = deque(), deque(), deque()
        self._crowded_out = self._oversized = 0

    def request(self, size: int, query, at: int) -> None:
        """Puts in a request of `size` bytes."""

        def put() -> int:
            if len(self._requests) >= REQUESTS:
                return 1
            self._requests.append((query, at))
            return 0

        self._put(size, put)

    def action(self, size: int, read, at: int) -> None:
        """Puts in an action of `size` bytes; `read` copies them, and is called only where they fit."""
        self._put(size, lambda: _newest(self._actions, (read(), at), ACTIONS))

    def pulse(self, size: int, read, at: int) -> None:
        """Puts in a heartbeat of `size` bytes; `read` copies them, and is called only where they fit."""
        self._put(size, lambda: _newest(self._pulses, (read(), at), PULSES))

    def take(self, timeout: float) -> Batch:
        """Takes out what is there, after waiting at most `timeout` seconds for something."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._requests or self._pulses or self._actions, timeout)
            batch = Batch(list(self._pulses), list(self._actions))
            batch.request = self._requests.popleft() if self._requests else None
            batch.crowded_out, batch.oversized = self._crowded_out, self._oversized
            self._pulses.clear()
            self._actions.clear()
            self._crowded_out = self._oversized = 0
            return batch

    def _put(self, size: int, put) -> None:
        with self._arrived:
            if size > MAX_TO_PLANT:
                self._oversized += 1
                return
            self._crowded_out += put()
            self._arrived.notify()


def _newest(queue: deque, arrived: tuple, most: int) -> int:
    """Appends to a queue; returns how many of the oldest had to give way."""
    gone = len(queue) >= most
    if gone:
        queue.popleft()
    queue.append(arrived)
    return int(gone)
