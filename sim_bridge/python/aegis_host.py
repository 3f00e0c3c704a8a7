"""The plant's side as a state machine: who holds the plant, which step is next, and when it stops by itself.
Pure but for the plant it moves: bytes and monotonic nanoseconds come in as values, bytes go out. See docs/protocol.md."""

import math
import sys
from dataclasses import dataclass

from aegis_wire import WireError, decode, encode

WARN_EVERY_NS = 1_000_000_000  # Between two warnings of dropped messages.


class Plant:
    """The interface of a served plant. Where a method raises, the controller is told, the plant is stopped, and the
    episode ends.

    `Host` calls `step` only with an action that a controller sent. While there is none, before the first action of an
    episode and from a stop until the next reset, it calls `hold`. No action is made up: a constant that stands still for
    a robot that takes velocities is a motion to that pose for one that takes positions.
    """

    action_width: int
    tasks: int = 1
    period_ns: int

    def reset(self, task: int, initial_state: int) -> dict:
        """Starts an episode; returns the protocol's `observation`. The plant stands until the first `step`."""
        raise NotImplementedError

    def step(self, action: list) -> tuple[dict, bool]:
        """Executes an action for one control period; returns the observation and whether the goal holds."""
        raise NotImplementedError

    def hold(self) -> tuple[dict, bool]:
        """Observes the plant for one control period without a new action; returns what `step` returns.

        A robot reads its sensors and sends nothing: it keeps the pose that it has. A simulator advances by one period
        with the action that moves nothing from where it is. Required of every plant, for no default is safe for all.
        """
        raise NotImplementedError

    def state(self) -> list:
        """Returns the complete physical state where it is known."""
        return []

    def frames(self) -> list:
        """Returns the protocol's `pictures`."""
        return []

    def stop(self) -> None:
        """Brings the plant to a stand at once: the controller has fallen silent or has left, a call has failed, or the
        serving ends. No `step` follows before the next `reset`. May be called again while it stands."""


def require_hold(plant: Plant) -> None:
    """Raises TypeError where a plant does not say how it stands without a command."""
    if getattr(type(plant), "hold", Plant.hold) is Plant.hold:
        raise TypeError(
            f"{type(plant).__name__} has no method `hold`, which a plant needs: write `def hold(self)` so that it returns "
            "(observation, success) after one control period without a new action. For a robot it reads the sensors and "
            "sends nothing; for a simulator it advances with the action that moves nothing. A constant `stand_still` is "
            "not used: to a robot that takes positions it is a command to move"
        )


@dataclass
class Episode:
    reset: dict
    answer: bytes = b""  # To the last reset or step, for when it is asked again.
    sequence: int = 0
    stopped: bool = False  # By itself; only a reset starts it again.
    command: tuple | None = None  # (sequence, at, action) of a free-running controller.


@dataclass
class Held:
    claim: dict
    session: int
    seen: int
    pulse: tuple = (0, 0)  # Stamp of the newest heartbeat on the controller's clock, and when it arrived.
    newest: int = 0
    episode: Episode | None = None


class Refusal(Exception):
    """(code, reason): the plant does not do what was asked."""


@dataclass
class Host:
    """One served plant: who holds it, which step is next, and when it stops by itself."""

    instance: int
    plant: Plant
    command_timeout_ns: int = 200_000_000
    controller_timeout_ns: int = 5_000_000_000
    claims: int = 0
    held: Held | None = None
    dropped: int = 0
    refused: int = 0
    told: tuple = (0, None)  # How many dropped messages people were told of, and when.
    reason: str = ""  # Why the last was dropped.

    def __post_init__(self):
        require_hold(self.plant)

    def request(self, data: bytes, now: int) -> bytes:
        """Answers one request. Moves the plant where the request is the next one."""
        answers = {"Claim": self._claim, "Reset": self._reset, "Step": self._step, "Look": self._look}
        answers["Release"] = self._release
        try:
            name, message = decode(data)
        except WireError as error:
            self._drop(str(error))
            return self._refuse(error.code, str(error))
        try:
            if name not in answers:
                raise Refusal("malformed", f"{name} is no request")
            return answers[name](message, now)
        except Refusal as refusal:
            return self._refuse(*refusal.args)

    def pulse(self, data: bytes, at: int) -> None:
        """Takes a controller's heartbeat, which arrived at `at`."""
        message = self._expected("Pulse", data)
        if message is None:
            self._drop("a heartbeat that is malformed or of nobody who holds the plant")
        else:
            self.held.seen = max(self.held.seen, at)
            self.held.pulse = (message["stamp_ns"], at)

    def action(self, data: bytes, at: int) -> None:
        """Takes a free-running controller's command, which arrived at `at`."""
        message = self._expected("Action", data)
        if message is None or not self._accept(message, at):
            self._drop("an action that is malformed, stale, of another episode, or does not fit the plant")

    def overlook(self, count: int, reason: str) -> None:
        """Counts messages that were dropped before they were read."""
        if count:
            self.dropped += count
            self.reason = reason

    def warning(self, now: int) -> str | None:
        """What to tell people of dropped messages, at most once a second."""
        count, at = self.told
        fresh = self.dropped - count
        if fresh == 0 or (at is not None and now - at < WARN_EVERY_NS):
            return None
        self.told = (self.dropped, now)
        return f"dropped {fresh} message{'s' if fresh > 1 else ''}, the last because: {self.reason}"

    def _drop(self, reason: str) -> None:
        self.overlook(1, reason)

    def tick(self, now: int) -> bytes | None:
        """Runs a control period of a free-running plant: executes the newest action, stops the plant when its controller
        has gone silent, and returns what to publish. None without an episode, and None in lock-step."""
        if self.period() is None:
            return None
        episode = self.held.episode
        if episode.command and now - episode.command[1] > self.command_timeout_ns:
            self._stop(episode)
        try:
            if episode.stopped or episode.command is None:
                observation, success = self.plant.hold()
            else:
                observation, success = self.plant.step(episode.command[2])
            episode.sequence += 1
            return _moved(episode, now, success, observation, [])
        except Exception:  # A plant that cannot move must not be commanded on; the status says that it stopped.
            self.refused += 1
            self._stop(episode)
            return None

    def period(self) -> int | None:
        """The control period while a free-running episode is on."""
        free = self.held and self.held.claim["mode"] == "free_running" and self.held.episode
        return self.plant.period_ns if free else None

    def expire(self, now: int) -> None:
        """Frees the plant from a controller that has been silent for too long."""
        if self.held and now - self.held.seen > self.controller_timeout_ns:
            self.free()

    def free(self) -> None:
        """Stops the plant and frees it."""
        if self.held and self.held.episode:
            self._stop(self.held.episode)
        self.held = None

    def status(self, now: int) -> bytes:
        """What the plant is doing."""
        held = self.held
        episode = held and held.episode
        pulse_stamp_ns, pulse_received_ns = held.pulse if held else (0, 0)
        phase = ("stopped" if episode.stopped else "running") if episode else "held" if held else "idle"
        return encode(
            "Status",
            {
                "instance": self.instance,
                "session": held.session if held else 0,
                "phase": phase,
                "episode": episode.reset["episode"] if episode else 0,
                "sequence": episode.sequence if episode else 0,
                "stamp_ns": now,
                "dropped": self.dropped,
                "refused": self.refused,
                "pulse_stamp_ns": pulse_stamp_ns,
                "pulse_received_ns": pulse_received_ns,
            },
        )

    def _claim(self, claim: dict, now: int) -> bytes:
        self.expire(now)
        if self.held is None:
            self.claims += 1
            # Sessions of different processes differ, so that nothing from before a restart is taken for new.
            self.held = Held(claim, (self.instance + self.claims) % 2**64, now)
        elif self.held.claim != claim:
            raise Refusal("held", f"held by {self.held.claim['controller']!r}, which lives")
        self.held.seen = max(self.held.seen, now)
        return encode(
            "Claimed",
            {
                "instance": self.instance,
                "session": self.held.session,
                "action_width": self.plant.action_width,
                "tasks": self.plant.tasks,
                "period_ns": self.plant.period_ns,
                "command_timeout_ns": self.command_timeout_ns,
                "controller_timeout_ns": self.controller_timeout_ns,
            },
        )

    def _reset(self, reset: dict, now: int) -> bytes:
        held = self._session(reset["session"], now)
        if held.episode and held.episode.reset == reset:
            if held.episode.sequence:
                raise Refusal("episode", f"episode {reset['episode']} is at step {held.episode.sequence}")
            return held.episode.answer
        if reset["episode"] <= held.newest:
            raise Refusal("episode", f"episode {reset['episode']} is not newer than {held.newest}")
        # Whatever the last action was, it is over: a robot must not follow it while the next episode is set up.
        if held.episode and held.claim["mode"] == "free_running":
            self._stop(held.episode)
        held.newest, held.episode = reset["episode"], None

        def move():
            observation = self.plant.reset(reset["task"], reset["initial_state"])
            episode = Episode(reset)
            episode.answer = _moved(episode, now, False, observation, self.plant.state())
            held.episode = episode
            return episode.answer

        return self._moving(move)

    def _step(self, step: dict, now: int) -> bytes:
        held = self._session(step["session"], now)
        if held.claim["mode"] == "free_running":
            raise Refusal("mode", "a free-running plant takes actions, not steps")
        episode = self._current(step["episode"])
        if step["sequence"] == episode.sequence > 0:
            return episode.answer
        if step["sequence"] != episode.sequence + 1:
            raise Refusal("sequence", f"step {step['sequence']} after step {episode.sequence}")
        if not self._fits(step["action"]):
            raise Refusal("plant", f"action {step['action']}: expected {self.plant.action_width} finite values")

        def move():
            observation, success = self.plant.step(step["action"])
            episode.sequence += 1
            episode.answer = _moved(episode, now, success, observation, self.plant.state())
            return episode.answer

        return self._moving(move)

    def _look(self, look: dict, now: int) -> bytes:
        held = self._session(look["session"], now)
        episode = self._current(look["episode"])
        if held.claim["mode"] == "lock_step" and look["sequence"] != episode.sequence:
            raise Refusal("sequence", f"a look at step {look['sequence']} in step {episode.sequence}")
        numbers = {**look, "sequence": episode.sequence}
        return self._told(lambda: encode("Pictures", {**numbers, "pictures": self.plant.frames()}))

    def _release(self, release: dict, now: int) -> bytes:
        self._session(release["session"], now)
        self.free()
        return self.status(now)

    def _expected(self, name: str, data: bytes) -> dict | None:
        try:
            found, message = decode(data)
        except WireError:
            return None
        holds = self.held and message.get("session") == self.held.session
        return message if found == name and holds else None

    def _accept(self, action: dict, at: int) -> bool:
        episode = self.held.episode
        if episode is None or episode.reset["episode"] != action["episode"] or not self._fits(action["action"]):
            return False
        if episode.stopped or (episode.command and action["sequence"] <= episode.command[0]):
            return False
        # Measured on the plant's own steps, so that no delay on the line, however constant, hides the age.
        age = (episode.sequence - action["observation"]) * self.plant.period_ns
        if not 0 <= age <= self.command_timeout_ns:
            return False
        # An action that arrives after the timeout, before the tick that would have noticed, comes too late as well.
        if episode.command and at - episode.command[1] > self.command_timeout_ns:
            self._stop(episode)
            return False
        episode.command = (action["sequence"], at, action["action"])
        self.held.seen = max(self.held.seen, at)
        return True

    def _fits(self, action: list) -> bool:
        return len(action) == self.plant.action_width and all(map(math.isfinite, action))

    def _stop(self, episode: Episode) -> None:
        if not episode.stopped:
            episode.stopped = True
            self._stop_plant()

    def _stop_plant(self) -> None:
        try:
            self.plant.stop()
        except Exception as error:
            print(f"the plant's stop failed: {error!r}", file=sys.stderr, flush=True)

    def _session(self, session: int, now: int) -> Held:
        self.expire(now)
        if self.held is None or self.held.session != session:
            raise Refusal("session", f"no session {session}: released, expired, or from before a restart")
        # A request may have waited while the plant moved: what came after it has been heard already.
        self.held.seen = max(self.held.seen, now)
        return self.held

    def _current(self, number: int) -> Episode:
        episode = self.held.episode
        if episode is None:
            raise Refusal("episode", "no episode is on; reset first")
        if episode.reset["episode"] != number:
            raise Refusal("episode", f"episode {number} is not on; episode {episode.reset['episode']} is")
        return episode

    def _moving(self, move) -> bytes:
        try:
            return self._told(move)
        except Refusal:
            # Nobody knows where the plant is now: the same question again must not move it once more.
            self.held.episode = None
            self._stop_plant()
            raise

    def _told(self, ask) -> bytes:
        try:
            return ask()
        except Exception as error:  # Whatever a plant raises, its controller hears of it and the process lives on.
            raise Refusal("plant", str(error) or repr(error)) from error

    def _refuse(self, code: str, reason: str) -> bytes:
        self.refused += 1
        return encode("Refused", {"code": code, "reason": reason.encode()[:1000].decode(errors="ignore")})


def _moved(episode: Episode, now: int, success: bool, observation: dict, state: list) -> bytes:
    numbers = {"session": episode.reset["session"], "episode": episode.reset["episode"], "sequence": episode.sequence}
    moved = {**numbers, "stamp_ns": now, "success": success, "observation": observation, "state": state}
    return encode("Moved", moved)
