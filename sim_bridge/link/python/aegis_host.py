"""Plant side of the protocol as a state machine: which controller holds the plant, which control step is next, and when
the plant stops by itself. Pure except for the plant it moves: bytes and monotonic nanoseconds come in as values, bytes go
out. See docs/reference/protocol.md."""

import math
from dataclasses import dataclass, field

from aegis_faults import Faults, Unfit, message, observed, raised, transition
from aegis_plant import Plant, check
from aegis_schema import announcement
from aegis_wire import WireError, decode, encode

LONGEST_ORDER_NS = 10_000_000_000  # Longest time for which one request of a watchdog holds the plant.
WARN_EVERY_NS = 1_000_000_000  # Minimum time between two warnings about dropped messages.

NO_LOCK_STEP = (
    "this plant does not move in lock-step, which has no start, no limits and no command timeout: drive it by `aegis run`; a "
    "simulator says `lock_step = True`"
)


@dataclass
class Episode:
    reset: dict
    schema: dict  # What the plant announced at the reset.
    answer: bytes = b""  # The answer to the last reset or step, for a repeated request.
    sequence: int = 0
    stopped: bool = False  # Whether the plant has stopped by itself; actions are dropped until a reset.
    command: tuple | None = None  # (sequence, arrival, action) of a free-running controller.
    frames: dict = field(default_factory=dict)  # Number of frames of each camera so far.
    begun: int = 0  # Time of the reset, nanoseconds on the plant's clock.


@dataclass
class Held:
    claim: dict
    session: int
    seen: int
    pulse: tuple = (0, 0)  # Stamp of the newest heartbeat on the controller's clock, and its arrival time, nanoseconds.
    newest: int = 0
    episode: Episode | None = None


class Refusal(Exception):
    """The plant refuses a request; the arguments are (code, reason)."""


@dataclass
class Host:
    """State of one served plant: the claim, the next control step, and the stop."""

    instance: int
    plant: Plant
    command_timeout_ns: int = 200_000_000
    controller_timeout_ns: int = 5_000_000_000
    claims: int = 0
    held: Held | None = None
    dropped: int = 0
    refused: int = 0
    told: tuple = (0, None)  # Number of dropped messages covered by the last warning, and the time of that warning.
    reason: str = ""  # Reason for which the last message was dropped.
    faults: Faults = field(default_factory=Faults)  # Faults of the plant's own methods.
    order: tuple = (0, "")  # A watchdog's newest order: until when nothing moves, and why.
    echo: bytes | None = None  # What the last control period executed, until it is published.
    is_stop_due: bool = False  # Whether the plant's `stop` must still be called until it returns.

    def __post_init__(self):
        check(self.plant)

    def request(self, data: bytes, now: int) -> bytes:
        """Answers one request. A reset, or a step with the next sequence number, moves the plant."""
        answers = {"Claim": self._claim, "Reset": self._reset, "Step": self._step, "FramesRequest": self._look}
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

    def watchdog(self, data: bytes, now: int) -> bytes:
        """Answers one request of a watchdog. A request to stop calls the plant's `stop` at once."""
        try:
            name, message = decode(data)
        except WireError as error:
            self._drop(str(error))
            return self._refuse(error.code, str(error))
        if name == "Attach":
            fields = {"instance": self.instance, "action_width": self.plant.action_width}
            times = {"period_ns": self.plant.period_ns, "command_timeout_ns": self.command_timeout_ns}
            return encode("Attached", {**fields, **times})
        if name != "StopRequest":
            return self._refuse("malformed", f"{name} is no request of a watchdog")
        until = now + min(message["hold_ns"], LONGEST_ORDER_NS)
        self.order = (max(until, self.order[0]), message["reason"])
        # Whether an episode is on or not, and whenever it is asked for: what moves the robot may be another program. First,
        # so that the heartbeat's thread does not report the stop before `stop` has succeeded.
        self.is_stop_due = True
        if self.held and self.held.episode:
            self.held.episode.stopped = True
        self.settle()
        return self.status(now)

    def executed(self) -> bytes | None:
        """Returns, once, what the last control period has executed, for watchdogs."""
        echo, self.echo = self.echo, None
        return echo

    def pulse(self, data: bytes, at: int) -> None:
        """Handles a heartbeat of the controller, which arrived at `at`."""
        message = self._expected("Pulse", data)
        if message is None:
            self._drop("a heartbeat that is malformed or of nobody who holds the plant")
        else:
            self.held.seen = max(self.held.seen, at)
            self.held.pulse = (message["stamp_ns"], at)

    def action(self, data: bytes, at: int) -> None:
        """Handles an action of a free-running controller, which arrived at `at`."""
        message = self._expected("Action", data)
        if message is None or not self._accept(message, at):
            self._drop("an action that is malformed, stale, of another episode, or does not fit the plant")

    def overlook(self, count: int, reason: str) -> None:
        """Counts messages that were dropped without being decoded."""
        if count:
            self.dropped += count
            self.reason = reason

    def warning(self, now: int) -> str | None:
        """Returns a warning for the log about dropped messages, at most once a second, else None."""
        count, at = self.told
        fresh = self.dropped - count
        if fresh == 0 or (at is not None and now - at < WARN_EVERY_NS):
            return None
        self.told = (self.dropped, now)
        return f"dropped {fresh} message{'s' if fresh > 1 else ''}, the last because: {self.reason}"

    def _drop(self, reason: str) -> None:
        self.overlook(1, reason)

    def tick(self, now: int) -> bytes | None:
        """Executes one control period of a free-running plant: executes the newest action, or stops the plant when the command
        timeout has passed, and returns the observation to publish. Returns None without an episode, in lock-step, while a stop
        has not succeeded, and where a method of the plant fails."""
        if self.period() is None:
            return None
        episode = self.held.episode
        if self.is_stop_due:
            self.settle()
        elif episode.command and now - episode.command[1] > self.command_timeout_ns:
            self._stop(episode)
        if self.is_stop_due:
            return None  # Without observations the controller stops sending commands, regardless of the status.
        is_led = episode.command is not None and not episode.stopped
        method, given = ("step", episode.command[2:]) if is_led else ("hold", ())
        command, action = (episode.command[0], episode.command[2]) if is_led else (0, [])
        numbers = {"session": self.held.session, "episode": episode.reset["episode"], "sequence": episode.sequence + 1}
        self.echo = encode("Executed", {**numbers, "stamp_ns": now, "command": command, "action": action})
        try:
            observation, success = self._call(lambda: transition(method, getattr(self.plant, method)(*given)), method)
            episode.sequence += 1
            return self._moved(method, episode, now, success, observation, [])
        except Refusal:  # After a failed step the plant gets no further commands; the status reports the stop.
            self.refused += 1
            self._stop(episode)
            return None

    def frames(self, begin: int) -> list[bytes]:
        """Returns the camera frames to publish, encoded. `begin` is the `time.monotonic_ns()` at which the plant's clock was 0. A
        camera that fails stops nothing here: the controller misses its frames."""
        if self.period() is None:
            return []
        held = self.held

        def made() -> list[bytes]:
            frames = []
            for frame in self.plant.new_frames():
                fields = {**frame}
                stamp_ns = fields.pop("taken_ns") - begin
                if stamp_ns < held.episode.begun:
                    continue  # It shows the scene before the reset.
                count = held.episode.frames.get(fields.get("camera"), 0) + 1
                numbers = {"session": held.session, "episode": held.episode.reset["episode"], "sequence": count}
                frames.append(message("new_frames", "CameraFrame", {**numbers, "stamp_ns": stamp_ns, **fields}))
                held.episode.frames[fields["camera"]] = count
            return frames

        try:
            return self._call(made, "new_frames")
        except Refusal:
            return []

    def period(self) -> int | None:
        """Returns the control period, nanoseconds, while a free-running episode runs, else None."""
        free = self.held and self.held.claim["mode"] == "free_running" and self.held.episode
        return self.plant.period_ns if free else None

    def discount(self, span: int, now: int) -> None:
        """Moves the time at which the controller was last heard forward by `span`, at most to `now`. A time in which this process
        read no message, because the plant moved or the machine was suspended, must not count as the controller's silence."""
        if self.held and span > 0:
            self.held.seen = max(self.held.seen, min(now, self.held.seen + span))

    def expire(self, now: int) -> None:
        """Frees the plant from a controller that has been silent for too long."""
        if self.held and now - self.held.seen > self.controller_timeout_ns:
            self.free()

    def free(self) -> None:
        """Stops the plant and frees it."""
        if self.held and self.held.episode:
            self._stop(self.held.episode)
        self.held = None

    def settle(self) -> bool:
        """Calls the plant's `stop` where a stop is due; returns whether no stop is due any more."""
        if self.is_stop_due:
            try:
                self.plant.stop()
                self.is_stop_due = False
            except BaseException as error:  # Whatever it is, even an exit: the plant still moves, and the next call may succeed.
                self.faults.add("stop", raised("stop", error))
        return not self.is_stop_due

    def status(self, now: int) -> bytes:
        """Returns the plant's heartbeat message, encoded."""
        held = self.held
        episode = held and held.episode
        pulse_stamp_ns, pulse_received_ns = held.pulse if held else (0, 0)
        has_stopped = episode and episode.stopped and not self.is_stop_due
        phase = ("stopped" if has_stopped else "running") if episode else "held" if held else "idle"
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
        if claim["mode"] == "lock_step" and not self.plant.lock_step:
            raise Refusal("mode", NO_LOCK_STEP)
        if self.held is None:
            self.claims += 1
            # Session numbers of different processes differ, so that no message from before a restart is accepted.
            self.held = Held(claim, (self.instance + self.claims) % 2**64, now)
        elif self.held.claim != claim:
            raise Refusal("held", self._held_by(now))
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
        self._refuse_while_held_back(now)
        if held.episode and held.episode.reset == reset:
            if held.episode.sequence:
                raise Refusal("episode", f"episode {reset['episode']} is at step {held.episode.sequence}")
            return held.episode.answer
        if reset["episode"] <= held.newest:
            raise Refusal("episode", f"episode {reset['episode']} is not newer than {held.newest}")
        # The last action ends here: a robot must not follow it while the next episode is set up.
        if held.episode and held.claim["mode"] == "free_running":
            self._stop(held.episode)
        if self.is_stop_due:
            reason = "its `stop` has not worked yet, and no episode begins before it has; its standard error says why"
            raise Refusal("plant", reason)
        self._refuse_undone(reset.get("disturbance"))
        held.newest, held.episode = reset["episode"], None

        def move():
            observation = self._call(lambda: self._begun(reset), "reset")
            state = self._call(self.plant.state, "state")
            episode = Episode(reset, self._call(lambda: announcement(self.plant), "features"), begun=now)
            if held.claim["mode"] == "free_running":
                self._note_cameras(episode.schema)
            episode.answer = self._moved("reset", episode, now, False, observation, state)
            held.episode = episode
            return episode.answer

        return self._moving(move)

    def _note_cameras(self, schema: dict) -> None:
        """Notes a plant that announces cameras and cannot hand out their frames."""
        names = [one["name"] for one in schema["features"] if one["kind"] == "rgb"]
        method = getattr(self.plant, "new_frames", None)
        if names and getattr(method, "__func__", method) in (None, Plant.new_frames):
            text = f"announces the cameras {', '.join(names)} and has no method `new_frames`, by which a controller in real time gets their frames"
            self.faults.add("new_frames", text)

    def _refuse_undone(self, disturbance: dict | None) -> None:
        """Refuses a disturbance that the plant cannot apply, or with a number that is not finite."""
        if disturbance is None:
            return
        if getattr(type(self.plant), "reset_disturbed", Plant.reset_disturbed) is Plant.reset_disturbed:
            reason = "the plant has no disturbances of its own; valid is a plan without [disturbances], or a plant that can apply"
            raise Refusal("plant", f"disturbance: {reason} them: write its method `reset_disturbed`")
        effect = disturbance["effect"]
        for field in ("force", "shift"):
            if not all(map(math.isfinite, effect.get(field, ()))):
                raise Refusal("malformed", f"disturbance.{field}: found a number that is not finite")

    def _begun(self, reset: dict) -> dict:
        """Resets the plant, with the disturbance that the message has."""
        start, disturbance = (reset["task"], reset["initial_state"]), reset.get("disturbance")
        if disturbance is None:
            return self.plant.reset(*start)
        return self.plant.reset_disturbed(*start, disturbance)

    def _step(self, step: dict, now: int) -> bytes:
        held = self._session(step["session"], now)
        if held.claim["mode"] == "free_running":
            raise Refusal("mode", "a free-running plant takes actions, not steps")
        self._refuse_while_held_back(now)
        episode = self._current(step["episode"])
        if episode.stopped:
            raise Refusal("stopped", "a watchdog stopped the episode; reset first")
        if step["sequence"] == episode.sequence > 0:
            return episode.answer
        if step["sequence"] != episode.sequence + 1:
            raise Refusal("sequence", f"step {step['sequence']} after step {episode.sequence}")
        if not self._fits(step["action"]):
            raise Refusal("plant", f"action {step['action']}: expected {self.plant.action_width} finite values")

        def move():
            observation, success = self._call(lambda: transition("step", self.plant.step(step["action"])), "step")
            episode.sequence += 1
            state = self._call(self.plant.state, "state")
            episode.answer = self._moved("step", episode, now, success, observation, state)
            return episode.answer

        return self._moving(move)

    def _look(self, look: dict, now: int) -> bytes:
        held = self._session(look["session"], now)
        episode = self._current(look["episode"])
        if held.claim["mode"] == "lock_step" and look["sequence"] != episode.sequence:
            raise Refusal("sequence", f"a look at step {look['sequence']} in step {episode.sequence}")
        numbers = {**look, "sequence": episode.sequence}
        pictures = self._call(self.plant.frames, "frames")
        return self._call(lambda: message("frames", "Pictures", {**numbers, "pictures": pictures}), "frames")

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
        # The age is measured in the plant's control steps, so that no network delay, however constant, hides it.
        age = (episode.sequence - action["observation"]) * self.plant.period_ns
        if not 0 <= age <= self.command_timeout_ns:
            return False
        # An action that arrives after the timeout but before the tick that would detect the timeout is late as well.
        if episode.command and at - episode.command[1] > self.command_timeout_ns:
            self._stop(episode)
            return False
        episode.command = (action["sequence"], at, action["action"])
        self.held.seen = max(self.held.seen, at)
        return True

    def _fits(self, action: list) -> bool:
        return len(action) == self.plant.action_width and all(map(math.isfinite, action))

    def _stop(self, episode: Episode) -> None:
        """Stops an episode; later actions are dropped. `is_stop_due` is set first, so that the heartbeat's thread, which may read
        the state at any time, does not report the stop before `stop` has succeeded."""
        if not episode.stopped:
            self.is_stop_due, episode.stopped = True, True
            self.settle()

    def _session(self, session: int, now: int) -> Held:
        self.expire(now)
        if self.held is None or self.held.session != session:
            raise Refusal("session", f"no session {session}: released, expired, or from before a restart")
        # The request may have waited in the inbox while later messages were handled, so `seen` never decreases.
        self.held.seen = max(self.held.seen, now)
        return self.held

    def _refuse_while_held_back(self, now: int) -> None:
        until, reason = self.order
        if now < until:
            after = "an operator has to reset the watchdog first"
            raise Refusal("stopped", f"a watchdog holds the plant: {reason}; {after}")

    def _current(self, number: int) -> Episode:
        episode = self.held.episode
        if episode is None:
            raise Refusal("episode", "no episode is on; reset first")
        if episode.reset["episode"] != number:
            raise Refusal("episode", f"episode {number} is not on; episode {episode.reset['episode']} is")
        return episode

    def _held_by(self, now: int) -> str:
        held = self.held
        silent, most = max(0, now - held.seen) / 1e9, self.controller_timeout_ns / 1e9
        return (
            f"held by {held.claim['controller']!r}, heard {silent:.1f} s ago; a controller that has ended without saying "
            f"so is let go {most:g} s after it was last heard: try again then"
        )

    def _moving(self, move) -> bytes:
        try:
            return move()
        except Refusal:
            # The plant's state is unknown, so the episode ends: a repeated request must not move the plant again.
            self.held.episode, self.is_stop_due = None, True
            self.settle()
            raise

    def _call(self, ask, method: str):
        """Returns the result of `ask`. Any exception is recorded as a fault and raised as a Refusal for the controller, so that
        the process continues."""
        try:
            return ask()
        except Exception as error:
            text = str(error) if isinstance(error, Unfit) else raised(method, error)
            self.faults.add(method, text)
            raise Refusal("plant", text) from error

    def _moved(self, method: str, episode: Episode, now: int, success, observation, state) -> bytes:
        reset = episode.reset
        numbers = {"session": reset["session"], "episode": reset["episode"], "sequence": episode.sequence}
        moved = {**numbers, "stamp_ns": now, "success": success, "state": state}
        moved["schema"] = episode.schema if method == "reset" else None
        features = episode.schema["features"]
        return self._call(lambda: observed(method, moved, features, observation), method)

    def _refuse(self, code: str, reason: str) -> bytes:
        self.refused += 1
        return encode("Refused", {"code": code, "reason": reason.encode()[:1000].decode(errors="ignore")})

