"""Inbox of messages that wait for a plant while the plant moves: bounded in number and in size, with a count of every
dropped message. Zenoh's threads put messages in and the plant's thread takes them out. Each kind of message has its own
queue, so no kind can crowd out another."""

import threading
from collections import deque
from dataclasses import dataclass, field

MAX_TO_PLANT = 4096  # Maximum size of a message to a plant, bytes.
REQUESTS = 64  # Maximum number of waiting requests. One beyond it is dropped, because the controller repeats the request.
STOPS = 16  # Maximum number of waiting requests of watchdogs. One beyond it is dropped, because the watchdog repeats it.
ACTIONS = 64  # Maximum number of waiting actions. The oldest is dropped for a new one: the plant executes the newest.
PULSES = 256  # Maximum number of waiting heartbeats. The oldest is dropped for a new one.


@dataclass
class Batch:
    """Messages taken out at once: everything of a watchdog, every heartbeat and action, oldest first, and one request, so that no
    kind delays another."""

    pulses: list = field(default_factory=list)  # (bytes, arrival)
    actions: list = field(default_factory=list)  # (bytes, arrival)
    request: tuple | None = None  # (query, arrival)
    stops: list = field(default_factory=list)  # (query, arrival)
    crowded_out: int = 0  # Number of messages dropped for lack of capacity since the last batch.
    oversized: int = 0  # Number of messages since the last batch that were larger than MAX_TO_PLANT.

    def is_empty(self) -> bool:
        """Returns whether the batch holds no message."""
        return not (self.pulses or self.actions or self.request or self.stops)


class Inbox:
    """A bounded inbox for messages with their arrival times."""

    def __init__(self):
        self._arrived = threading.Condition()
        self._requests, self._pulses, self._actions, self._stops = deque(), deque(), deque(), deque()
        self._crowded_out = self._oversized = 0

    def request(self, size: int, query, at: int) -> None:
        """Puts in a request of `size` bytes."""

        def put() -> int:
            if len(self._requests) >= REQUESTS:
                return 1
            self._requests.append((query, at))
            return 0

        self._put(size, put)

    def stop(self, size: int, query, at: int) -> None:
        """Puts in a watchdog's request of `size` bytes."""

        def put() -> int:
            if len(self._stops) >= STOPS:
                return 1
            self._stops.append((query, at))
            return 0

        self._put(size, put)

    def action(self, size: int, read, at: int) -> None:
        """Puts in an action of `size` bytes; `read` copies them, and is called only where the size is within the limit."""
        self._put(size, lambda: _newest(self._actions, (read(), at), ACTIONS))

    def pulse(self, size: int, read, at: int) -> None:
        """Puts in a heartbeat of `size` bytes; `read` copies them, and is called only where the size is within the limit."""
        self._put(size, lambda: _newest(self._pulses, (read(), at), PULSES))

    def take(self, timeout: float) -> Batch:
        """Takes out a batch, after waiting at most `timeout` seconds for the first message."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._requests or self._pulses or self._actions or self._stops, timeout)
            batch = Batch(list(self._pulses), list(self._actions), stops=list(self._stops))
            batch.request = self._requests.popleft() if self._requests else None
            batch.crowded_out, batch.oversized = self._crowded_out, self._oversized
            self._pulses.clear()
            self._actions.clear()
            self._stops.clear()
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
    """Appends to a queue; returns how many of the oldest messages were dropped."""
    gone = len(queue) >= most
    if gone:
        queue.popleft()
    queue.append(arrived)
    return int(gone)
