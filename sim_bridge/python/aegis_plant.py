"""What somebody writes to have a robot or a simulator served: the interface `Plant`, and the check of one before that."""

import operator

WIDTHS = (1, 64)  # Values per action.
TASKS = (1, 2**32 - 1)
PERIODS_NS = (1_000_000, 1_000_000_000)  # 1000 control periods a second to 1.


class Plant:
    """The interface of a served plant.

    `Host` calls `step` only with an action that a controller sent. While there is none, before the first action of an
    episode and from a stop until the next reset, it calls `hold`. No action is made up: a constant that stands still for
    a robot that takes velocities is a motion to that pose for one that takes positions.

    Every method has to return within one control period. They are called one after another on one thread, and while one
    of them runs nothing is watched: a controller that falls silent during a `step` of ten seconds is noticed, and `stop`
    called, after the ten seconds. A call that may wait, as for a bus, needs a deadline or a thread of its own. Only a
    simulator's `reset` may take longer, as nothing moves meanwhile.

    Where a method raises, or returns what is no observation, standard error says so, the controller is told or sees that
    the plant stopped, `stop` is called, and the episode ends.

    Wherever the protocol has numbers, those of numpy do as well, and arrays of them where it has a list.
    """

    action_width: int
    tasks: int = 1
    period_ns: int

    def reset(self, task: int, initial_state: int) -> dict:
        """Starts an episode; returns the protocol's `observation`. The plant stands until the first `step`.

        A robot must not move here: `aegis run --dry-run`, which sends no action, resets too.
        """
        raise NotImplementedError

    def step(self, action: list) -> tuple[dict, bool]:
        """Executes an action for one control period; returns the observation and whether the goal holds.

        It is called at most once a period, with the newest action, and with the same one again where no other has come.
        Controllers limit the changes between one action and the next that they send, but a line may hold several back and
        deliver them at once. Then all but the newest are left out, and what is executed changes by several periods' worth
        at once. So a driver has to interpolate or limit the change itself, and to keep the robot's own limits on.

        Controllers date an observation by when this method was called. A driver with cached readings has to wait for one
        that is younger than the call, or raise where none comes: an older one would count as new.
        """
        raise NotImplementedError

    def hold(self) -> tuple[dict, bool]:
        """Observes the plant for one control period without a new action; returns what `step` returns, as young.

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
        serving ends. No `step` follows before the next `reset`. May be called again while it stands.

        Raise where it has not worked. It is called again, every period or ten times a second, until it has returned; until
        then nothing is observed, no episode begins, and the plant does not say that it stopped.
        """


def check(plant: Plant) -> None:
    """Raises TypeError for a plant that cannot be served: one that does not say how it stands without a command, or whose
    numbers are none."""
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


def _is_whole(value) -> bool:
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool)
