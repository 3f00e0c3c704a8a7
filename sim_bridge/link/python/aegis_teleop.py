"""A person's side of a call: what the controller says, what the person is told, and the commands that are sent. Pure: messages
and time come in as values. See docs/guide/robot.md, "A person as the backup"."""

import math

from aegis_wire import decode, encode

SILENT = 1.0  # Seconds without a word of the controller after which it counts as gone.
RING_EVERY = 1.0  # Seconds between two bells of one call.
MOST = 2**32 - 1


class Hand:
    """One person's program: keeps the newest call of a controller, and numbers the commands that answer it."""

    def __init__(self, operator: int):
        self.operator = operator  # Number that distinguishes this program from any other.
        self.call = None  # The newest call, as the fields of its message; None before the first.
        self.heard = 0.0
        self.is_engaged = False  # Whether the person drives or wants to.
        self.sequence = 0
        self._rung, self._told = None, None

    def hear(self, data: bytes, now: float) -> list[str]:
        """Takes a message of the key `call`; returns lines to tell the person. Raises ValueError for bytes that are no call."""
        name, call = decode(data)
        if name != "Call":
            raise ValueError(f"{name} on a key of Call")
        before, self.call, self.heard = self.call, call, now
        lines = []
        state = (call["state"], call["call"], call["operator"])
        if before is None or state != (before["state"], before["call"], before["operator"]):
            lines.append(self._line())
            is_over = not self.is_ours() and call["state"] in ("quiet", "driving")
            if is_over or (before is not None and before["call"] != call["call"]):
                # The call is over, or another one has answered it. Whoever still holds on does not drive in the next one.
                self.is_engaged = False
        refused = call["refused"] == self.operator and (call["call"], tuple(call["away"]))
        if refused and refused != self._told:
            lines.append(self._refusal())
        self._told = refused
        return lines

    def toggle(self) -> None:
        """Takes hold where the person is called or has just let go, and lets go of what they hold."""
        self.is_engaged = not self.is_engaged and (self.is_called() or self.is_ours())

    def is_ours(self) -> bool:
        """Returns whether this program's person drives, or has just let go."""
        return self.call is not None and self.call["operator"] == self.operator

    def is_called(self) -> bool:
        """Returns whether the person is needed."""
        return self.call is not None and self.call["state"] == "called"

    def is_alone(self, now: float) -> bool:
        """Returns whether no controller has been heard for `SILENT` seconds."""
        return self.call is None or now - self.heard > SILENT

    def rings(self, now: float) -> bool:
        """Returns whether the bell is to ring: at a call, and every `RING_EVERY` seconds until it is answered."""
        if not self.is_called() or self.is_alone(now):
            return False
        last = self._rung
        if last is not None and last[0] == self.call["call"] and now - last[1] < RING_EVERY:
            return False
        self._rung = self.call["call"], now
        return True

    def near(self) -> list[float]:
        """Returns the last command sent to the robot: whoever begins there is near enough."""
        return list(self.call["command"])

    def away(self, values: list) -> list[tuple]:
        """Returns (name, distance, largest distance) for each channel in which `values` are too far from the robot's last command for
        a person to take over."""
        far = []
        for index, (value, last, channel) in enumerate(zip(values, self.call["command"], self.call["channels"])):
            distance = value - last
            if not abs(distance) <= channel["within"]:
                far.append((channel["name"] or f"channel {index}", distance, channel["within"]))
        return far

    def is_idle(self) -> bool:
        """Returns whether nothing is to be sent: nobody is called or drives. What an episode before has still to say to its controller
        would be dropped by the next one."""
        return self.call is None or (self.call["state"] == "quiet" and not self.is_engaged)

    def command(self, values: list, now_ns: int) -> bytes | None:
        """Returns the next command with these values, or None before the first call of a controller."""
        if self.call is None:
            return None
        self.sequence = min(self.sequence + 1, MOST)
        call = self.call
        fields = {"session": call["session"], "episode": call["episode"], "call": call["call"]}
        numbers = {"operator": self.operator, "sequence": self.sequence, "stamp_ns": now_ns}
        action = [float(value) for value in values] if self.is_engaged else []
        return encode("Teleop", {**fields, **numbers, "engaged": self.is_engaged, "action": action})

    def _line(self) -> str:
        call = self.call
        state, number = call["state"], call["call"]
        if state == "called":
            return f"called {number}: the robot holds still for {call['left_ns'] / 1e9:.0f} s"
        if state == "driving":
            return f"driving {number}" if self.is_ours() else f"driven {number}: another operator drives"
        return f"released {number}" if state == "released" else "quiet"

    def _refusal(self) -> str:
        call = self.call
        if not call["away"]:
            return "refused: a value is not finite, or there are more or fewer values than channels"
        pairs = enumerate(zip(call["away"], call["channels"]))
        far = [
            f"{channel['name'] or f'channel {index}'} {distance:+.4f} (at most {channel['within']:.4f})"
            for index, (distance, channel) in pairs
            if not abs(distance) <= channel["within"]
        ]
        return "refused: " + (", ".join(far) or "nearer by now, try again")


class Keys:
    """Values that a person steers with keys: one key a channel upwards, the one below it on the keyboard downwards.

    A position keeps its value; a rate falls back to 0 when its key is let go, `HELD` seconds after the last repetition; a discrete
    channel jumps to its largest or smallest value.
    """

    UP, DOWN = "qwertyuio", "asdfghjkl"
    HELD = 0.3  # Longer than the time between two repetitions of a key that is held.

    def __init__(self):
        self.values, self.scale, self.bank, self._pressed = [], 1.0, 0, {}

    def follow(self, command: list) -> None:
        """Stays where the robot is, until the person engages."""
        self.values, self._pressed = list(command), {}

    def press(self, key: str, channels: list, now: float) -> bool:
        """Takes a key; returns False for one that steers nothing."""
        if key in "[]" and key:
            self.scale = min(max(self.scale * (0.5 if key == "[" else 2.0), 1 / 64), 64.0)
            return True
        if key == "\t":
            self.bank = (self.bank + len(self.UP)) % max(len(channels), 1) // len(self.UP) * len(self.UP)
            return True
        for keys, sign in ((self.UP, 1.0), (self.DOWN, -1.0)):
            if key and key in keys:
                index = self.bank + keys.index(key)
                if index >= min(len(channels), len(self.values)):
                    return False
                self._move(index, channels[index], sign, now)
                return True
        return False

    def _move(self, index: int, channel: dict, sign: float, now: float) -> None:
        low, high = channel["bounds"]
        if channel["kind"] == "discrete":
            self.values[index] = high if sign > 0 else low
            return
        if channel["kind"] == "rate":
            size = 0.25 * (high if sign > 0 else -low) * self.scale
            self._pressed[index] = now
            value = sign * size
        else:
            size = channel["within"] if math.isfinite(channel["within"]) else (high - low) / 100
            value = self.values[index] + sign * size * self.scale
        self.values[index] = min(max(value, low), high)

    def current(self, now: float) -> list:
        """Returns the values at `now`."""
        for index, pressed in list(self._pressed.items()):
            if now - pressed > self.HELD:
                self.values[index] = 0.0
                del self._pressed[index]
        return list(self.values)


class Leader:
    """Values of a leader arm, by the names of its joints. `pairs` has (joint, channel, scale, offset); a channel without a joint keeps
    the robot's last command."""

    def __init__(self, pairs: list):
        self.pairs = pairs

    def bound(self, joints: list, channels: list) -> list[tuple]:
        """Returns (joint, index of the channel, scale, offset). Raises ValueError for a name that is missing at either side, or where
        none is left."""
        names = [channel["name"] for channel in channels]
        # LeRobot names a joint's position `NAME.pos`.
        plain = {joint: joint.removesuffix(".pos") for joint in joints}
        pairs = self.pairs or [(joint, name, 1.0, 0.0) for joint, name in plain.items() if name in names]
        if not pairs:
            raise ValueError(
                f"--map: found none, and no joint of {', '.join(joints)} has the name of a channel, {', '.join(names)}; valid is JOINT=CHANNEL"
            )
        found = []
        for joint, name, scale, offset in pairs:
            joint = next((one for one, short in plain.items() if joint in (one, short)), None)
            if joint is None:
                raise ValueError(f"--map: found no such joint as in {name!r}; valid are {', '.join(joints)}")
            if name not in names:
                raise ValueError(f"--map: found channel {name!r}; valid are {', '.join(names)}")
            found.append((joint, names.index(name), scale, offset))
        return found

    @staticmethod
    def values(bound: list, action: dict, command: list) -> list:
        """Returns the values of a reading of the arm."""
        values = list(command)
        for joint, index, scale, offset in bound:
            values[index] = float(action[joint]) * scale + offset
        return values


def parse_pair(text: str) -> tuple:
    """Parses JOINT=CHANNEL, JOINT=CHANNEL:SCALE or JOINT=CHANNEL:SCALE:OFFSET; raises ValueError for another text."""
    joint, _, rest = text.partition("=")
    name, *numbers = rest.split(":")
    try:
        scale, offset = (*map(float, numbers), *(1.0, 0.0)[len(numbers) :])
    except ValueError:
        joint = ""
        scale = offset = 0.0
    if not joint or not name or not math.isfinite(scale) or not math.isfinite(offset):
        raise ValueError(f"--map: found {text!r}; valid is JOINT=CHANNEL, JOINT=CHANNEL:SCALE or JOINT=CHANNEL:SCALE:OFFSET")
    return joint, name, scale, offset


class Script:
    """Steps of a demonstration or a test, one a line: `wait STATE`, `engage`, `release`, `set CHANNEL VALUE`, `add CHANNEL VALUE`,
    `send N` commands, `say TEXT`, `repeat` from the beginning."""

    STATES = ("quiet", "called", "driving", "released")

    def __init__(self, lines: list):
        self.steps = [self.parsed(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]
        self.at, self.left, self.values = 0, 0, []

    @classmethod
    def parsed(cls, line: str) -> tuple:
        """Parses a line; raises ValueError for one that is no step."""
        word, *rest = line.split()
        try:
            if word in ("engage", "release", "repeat") and not rest:
                return (word,)
            if word == "wait" and len(rest) == 1 and rest[0] in cls.STATES:
                return word, rest[0]
            if word in ("set", "add") and len(rest) == 2:
                return word, int(rest[0]), float(rest[1])
            if word == "send" and len(rest) == 1 and int(rest[0]) > 0:
                return word, int(rest[0])
            if word == "say":
                return word, line.split(maxsplit=1)[1].strip()
        except (ValueError, IndexError):
            pass
        valid = "wait STATE, engage, release, set CHANNEL VALUE, add CHANNEL VALUE, send N, say TEXT or repeat"
        raise ValueError(f"--script: found {line.strip()!r}; valid is {valid}")

    def is_over(self) -> bool:
        """Returns whether no step is left."""
        return self.at >= len(self.steps) and self.left == 0

    def run(self, hand: Hand) -> list[str]:
        """Takes every step that can be taken before the next command is sent; returns lines to print. Raises ValueError for a channel that
        the robot has not."""
        said = []
        if self.left:
            self.left -= 1
            if self.left:
                return said
        if not hand.is_engaged:
            self.values = hand.near()
        while self.at < len(self.steps) and not self.left:
            word, *rest = self.steps[self.at]
            if word == "wait" and (hand.call["state"] != rest[0] or (rest[0] == "driving" and not hand.is_ours())):
                break
            self.at += 1
            if word in ("engage", "release"):
                hand.is_engaged = word == "engage"
                if hand.is_engaged:
                    self.values = hand.near()
            elif word in ("set", "add"):
                index, value = rest
                if not 0 <= index < len(self.values):
                    raise ValueError(f"--script: {word}: found channel {index}; valid is 0 to {len(self.values) - 1}")
                self.values[index] = value if word == "set" else self.values[index] + value
            elif word == "send":
                self.left = rest[0]
            elif word == "say":
                said.append(rest[0])
            elif word == "repeat":
                self.at = 0
                break
        return said
