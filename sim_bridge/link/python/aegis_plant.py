"""The interface `Plant` that the author of a robot or simulator driver implements, and the check of a plant before it is
served."""

import operator

from aegis_schema import announcement

WIDTHS = (1, 64)  # Range of the number of values per action.
TASKS = (1, 2**32 - 1)
PERIODS_NS = (1_000_000, 1_000_000_000)  # Range of the control period: 1000 periods per second to 1.


class Plant:
    """The interface of a served plant.

    `Host` calls `step` only with an action that a controller sent. Where there is no action, that is before the first
    action of an episode and from a stop until the next reset, `Host` calls `hold`. `Host` never invents an action: a
    constant that makes a velocity-controlled robot stand still makes a position-controlled robot move to that pose.

    Every method must return within one control period. All methods are called one after another on one thread, and no
    timeout is checked while a method runs: where a controller falls silent during a `step` of ten seconds, `stop` is called
    after the ten seconds. A call that may block, for example on a bus, needs a deadline or a separate thread. Only a
    simulator's `reset` may take longer, because nothing moves meanwhile.

    Where a method raises, or returns an invalid observation, a message is written to standard error, the controller gets a
    refusal or sees that the plant stopped, `stop` is called, and the episode ends.

    An observation is a map: `plant_time`, seconds since the reset; `task`, its index; `instruction`, the task in words; and
    `values`, a map from the name of each feature of kind `tensor` to its numbers. `features` and `channels` say what policies may
    read and what they command, by the functions of `aegis_schema`; they are read at each reset and hold until the next. Numbers
    of numpy are accepted wherever the protocol has numbers, and arrays of numpy wherever it has lists.
    """

    action_width: int
    tasks: int = 1
    period_ns: int
    # Features of an observation, in order: `vector`, `tensor` and `camera` of `aegis_schema`.
    features: list
    # Channels of an action, in order: `channel` of `aegis_schema`. Without them policies that name channels are refused.
    channels: list = []
    # Whether a controller may claim the plant in lock-step, in which each request moves it by one step, as fast as requests
    # come, without an operator's start, limits or a command timeout. Only for simulators.
    lock_step: bool = False

    def reset(self, task: int, initial_state: int) -> dict:
        """Starts an episode; returns the observation. The plant stands still until the first `step`.

        A robot must not move in this method: `aegis run --dry-run`, which sends no action, also resets the plant.
        """
        raise NotImplementedError

    def reset_disturbed(self, task: int, initial_state: int, disturbance: dict) -> dict:
        """Starts an episode as `reset` does, in which the plant applies a disturbance by itself.

        `disturbance` has `step`, the control step since the reset at whose beginning it begins, and `effect`, a map whose `kind`
        is `push` (`force`, newtons along x, y and z of the world, on the arm's last link for `steps` control steps), `slip` (the
        gripper opened for `steps` control steps, whatever the action says) or `displacement` (`shift`, metres along x and y, of
        the object that the task is about). Only for simulators; a plant without this method refuses such an episode.
        """
        raise NotImplementedError

    def step(self, action: list) -> tuple[dict, bool]:
        """Executes an action for one control period; returns the observation and whether the goal is met.

        The method is called at most once a period, with the newest action, and with the same action again where no newer one
        has arrived. Controllers limit the change between consecutive actions, but a network may delay several actions and
        deliver them at once. All but the newest are then left out, and the executed action changes by several periods' worth
        at once. A driver must therefore interpolate or limit the change itself, and keep the robot's own limits enabled.

        The observation stamp is the time at which this method was called. A driver with cached readings must wait for a
        reading that is newer than the call, or raise where none arrives: an older reading would count as new.
        """
        raise NotImplementedError

    def hold(self) -> tuple[dict, bool]:
        """Observes the plant for one control period without a new action; returns the same as `step`, with equally new readings.

        A robot reads its sensors and sends nothing, so it keeps its pose. A simulator advances by one period with the action
        that moves nothing from the present pose. Every plant must implement this method, because no default is safe for all.
        """
        raise NotImplementedError

    def state(self) -> list:
        """Returns the complete physical state where it is known, else an empty list."""
        return []

    def frames(self) -> list:
        """Returns the protocol's `pictures`."""
        return []

    def new_frames(self) -> list:
        """Returns the frames that the cameras have taken since the last call, for a free-running controller. Called after each
        control period, and must not wait: a driver reads its cameras on threads of their own.

        A frame is a map: `camera`, a name among `features`; `width` and `height`, pixels; `encoding`, `"rgb"` or `"jpeg"`;
        `data`, the bytes, for rgb `[height, width, 3]` with row 0 at the top; and `taken_ns`, the `time.monotonic_ns()` at which the
        camera took the picture, or earlier.
        """
        return []

    def stop(self) -> None:
        """Brings the plant to a standstill at once: the controller has fallen silent or has left, a call has failed, or the
        server ends. No `step` follows before the next `reset`. May be called again while the plant stands still.

        The method must raise where it fails. It is then called again, every period or ten times a second, until it returns;
        until then nothing is observed, no episode begins, and the heartbeat does not report the stop.
        """


def check(plant: Plant) -> None:
    """Raises TypeError for a plant that cannot be served: a plant without its own `hold`, or with an attribute that is not a
    whole number in its range."""
    name = type(plant).__name__
    if getattr(type(plant), "hold", Plant.hold) is Plant.hold:
        raise TypeError(
            f"{name} has no method `hold`, which a plant needs: write `def hold(self)` so that it returns "
            "(observation, success) after one control period without a new action. For a robot it reads the sensors and "
            "sends nothing; for a simulator it advances with the action that moves nothing. A constant `stand_still` is "
            "not used: to a robot that takes positions it is a command to move"
        )
    for field, (least, most), what in (
        ("action_width", WIDTHS, "values per action"),
        ("tasks", TASKS, "how many tasks it has"),
        ("period_ns", PERIODS_NS, "the control period in nanoseconds, as 50_000_000 for 20 periods a second"),
    ):
        found = getattr(plant, field, None)
        if not _is_whole(found) or not least <= found <= most:
            shown = "none" if found is None else repr(found)
            valid = f"a whole number from {least} to {most}, {what}"
            raise TypeError(f"{name}.{field}: found {shown}; valid is {valid}")
    announcement(plant)


def _is_whole(value) -> bool:
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool)
