"""A person as the backup: answers the calls of `aegis run`, with a keyboard, with a leader arm, or by a script.

    python teleop.py --name libero                                            # keyboard
    python teleop.py --name arm --lerobot so101_leader --port /dev/ttyACM0    # leader arm, by LeRobot's class
    python teleop.py --name arm --connect tls/robot.local:7447 --keys keys/operator
    python teleop.py --name arm --script FILE                                 # for tests and demonstrations

When the robot needs a person the bell rings. SPACE takes hold, and SPACE again lets go: the weak policy drives then. `x` ends. With
the keyboard q w e r t y u i o raise the channels 1 to 9, a s d f g h j k l lower them, TAB goes to the next nine, [ and ] halve and
double the step. A leader arm has to be where the robot is before you take hold; the distances are shown.
"""

import argparse
import importlib
import json
import os
import pkgutil
import queue
import secrets
import select
import signal
import sys
import termios
import time
import tty
from pathlib import Path

import zenoh

import aegis_keys
from aegis_access import client_settings, guard
from aegis_link import check_name, put, say, warn
from aegis_teleop import Hand, Keys, Leader, Script, parse_pair
from aegis_wire import WireError

SHOW_EVERY = 0.1  # Seconds between two status lines.
ENDS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP")


class Terminal:
    """Keys of this terminal as they are pressed, and one status line. Without a terminal there are no keys."""

    def __init__(self):
        self.is_there = sys.stdin.isatty()
        self.shows = sys.stderr.isatty()
        self.shown, self.before = 0.0, None

    def begin(self) -> None:
        """Takes keys as they are pressed from here on."""
        if self.is_there:
            self.before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)

    def keys(self) -> str:
        """Returns the keys that were pressed since the last call."""
        pressed = ""
        while self.is_there and select.select([sys.stdin], [], [], 0)[0]:
            found = os.read(sys.stdin.fileno(), 64).decode(errors="replace")
            if not found:
                self.is_there = False
            pressed += found
        return pressed

    def ring(self) -> None:
        if self.shows:
            sys.stderr.write("\a")
            sys.stderr.flush()

    def show(self, text: str, now: float) -> None:
        """Shows the status line, in place of the one before."""
        if self.shows and now - self.shown >= SHOW_EVERY:
            self.shown = now
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            sys.stderr.write("\r\x1b[K" + text[: max(width - 1, 0)])
            sys.stderr.flush()

    def say(self, line: str) -> None:
        if self.shows:
            sys.stderr.write("\r\x1b[K")
        say(line, sys.stdout)

    def close(self) -> None:
        if self.before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self.before)
        if self.shows:
            sys.stderr.write("\n")


class KeyboardDevice:
    """A keyboard: before the person engages its values are the robot's, so that taking hold never jumps."""

    def __init__(self):
        self.keys = Keys()

    def read(self, hand: Hand, pressed: str, now: float) -> list:
        if not hand.is_engaged:
            self.keys.follow(hand.near())
        for key in pressed:
            self.keys.press(key, hand.call["channels"], now)
        return self.keys.current(now)

    def close(self) -> None:
        pass


class LeaderDevice:
    """A leader arm of LeRobot's teleoperator classes."""

    def __init__(self, kind: str, options: dict, pairs: list):
        self.arm, self.leader, self.bound = connect_leader(kind, options), Leader(pairs), None

    def read(self, hand: Hand, pressed: str, now: float) -> list:
        action = self.arm.get_action()
        if self.bound is None:
            self.bound = self.leader.bound(list(action), hand.call["channels"])
        return self.leader.values(self.bound, action, hand.near())

    def close(self) -> None:
        self.arm.disconnect()


def connect_leader(kind: str, options: dict):
    """Returns a connected teleoperator of LeRobot, which is imported here alone. Raises SystemExit for a kind that LeRobot has not."""
    try:
        import lerobot.teleoperators as teleoperators
        from lerobot.teleoperators.utils import make_teleoperator_from_config
    except ImportError as error:
        raise SystemExit(f"--lerobot: needs LeRobot with its teleoperators (pip install 'lerobot[feetech]'): {error}") from None
    known = {}
    # A package registers its teleoperators when it is imported; some need what is not installed.
    for module in pkgutil.iter_modules(teleoperators.__path__):
        try:
            importlib.import_module(f"lerobot.teleoperators.{module.name}")
        except ImportError:
            continue
        known = teleoperators.TeleoperatorConfig.get_known_choices()
        if kind in known:
            break
    if kind not in known:
        raise SystemExit(f"--lerobot: found {kind!r}; valid are {', '.join(sorted(known))}")
    try:
        arm = make_teleoperator_from_config(known[kind](**options))
    except TypeError as error:
        raise SystemExit(f"--option: {kind}: {error}") from None
    arm.connect()
    return arm


class ScriptDevice:
    """Steps of a file."""

    def __init__(self, path: str, terminal: Terminal):
        try:
            text = sys.stdin.read() if path == "-" else Path(path).read_text()
            self.script = Script(text.splitlines())
        except (OSError, ValueError) as error:
            raise SystemExit(f"{path}: {error}") from None
        self.terminal = terminal

    def read(self, hand: Hand, pressed: str, now: float) -> list:
        for line in self.script.run(hand):
            self.terminal.say(line)
        return self.script.values

    def close(self) -> None:
        pass


def drive(session, name: str, device, terminal: Terminal, rate: float) -> None:
    """Answers calls until the person ends, or a script is over."""
    hand, calls, told = Hand(secrets.randbits(63) + 1), queue.SimpleQueue(), []
    for signal_name in ENDS:
        signal.signal(getattr(signal, signal_name), lambda number, _: told.append(number))
    hear = session.declare_subscriber(f"aegis/{name}/call", lambda sample: calls.put(sample.payload.to_bytes()))
    quick = {"congestion_control": zenoh.CongestionControl.DROP, "priority": zenoh.Priority.REAL_TIME, "express": True}
    commands = session.declare_publisher(f"aegis/{name}/teleop", **quick)
    try:
        answer(name, hand, calls, told, commands, device, terminal, 1 / rate)
    finally:
        # Lets go before it leaves, whatever ends it: a stream that dies while a person drives is a stop.
        if hand.call is not None:
            hand.is_engaged = False
            put(commands.put, hand.command([], time.monotonic_ns()))
        hear.undeclare()
        commands.undeclare()


def answer(name: str, hand: Hand, calls, told: list, commands, device, terminal: Terminal, period: float) -> None:
    """Sends a command every `period` seconds while a person is called or drives, until a signal is told, the person ends, or a script is
    over. Raises SystemExit for a device that cannot be read."""
    due = time.monotonic()
    while not told:
        now = time.monotonic()
        while not calls.empty():
            try:
                lines = hand.hear(calls.get(), now)
            except (WireError, ValueError) as error:
                warn(f"{name}: a call cannot be read: {error}")
                continue
            for line in lines:
                terminal.say(line)
        pressed = terminal.keys()
        if "x" in pressed or "\x04" in pressed:
            break
        if hand.call is None:
            terminal.show(f"no controller of {name} has been heard; waiting", now)
        else:
            for key in pressed:
                if key == " ":
                    hand.toggle()
            values = read(device, hand, pressed.replace(" ", ""), now)
            if not hand.is_idle():
                put(commands.put, hand.command(values, time.monotonic_ns()))
            if hand.rings(now):
                terminal.ring()
            terminal.show(status(hand, values, now), now)
            if isinstance(device, ScriptDevice) and device.script.is_over():
                break
        due = max(due + period, now)
        time.sleep(max(0.0, due - time.monotonic()))


def read(device, hand: Hand, pressed: str, now: float) -> list:
    """Returns a device's values. Raises SystemExit, with what went wrong in one line, for a device that cannot be read: drivers of arms
    raise errors of any kind."""
    try:
        return device.read(hand, pressed, now)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    except Exception as error:
        reason = " ".join(str(error).split()) or "no reason"
        raise SystemExit(f"the device cannot be read any more, so it lets go: {type(error).__name__}: {reason}") from None


def status(hand: Hand, values: list, now: float) -> str:
    """Returns the status line."""
    call = hand.call
    if hand.is_alone(now):
        return "the controller has not been heard for a second"
    state = "you drive; SPACE lets go" if hand.is_ours() and call["state"] == "driving" else call["state"]
    if call["state"] == "called":
        far = hand.away(values)
        apart = ", ".join(f"{name} {distance:+.3f} of {within:.3f}" for name, distance, within in far)
        wanted = "taking hold" if hand.is_engaged else "SPACE takes hold"
        state = f"CALLED, {call['left_ns'] / 1e9:.0f} s left: " + (f"move the arm: {apart}" if far else wanted)
    return state


def opened(connect: str, keys: str | None, name: str, allow_plaintext_network: bool) -> zenoh.Session:
    """Opens a session that connects to a plant's endpoint. Raises SystemExit where it cannot."""
    guard(connect, allow_plaintext_network, keys, option="--connect", party="operator")
    if keys is not None:
        try:
            for warning in aegis_keys.check(keys, name, party="operator"):
                warn(warning)
        except aegis_keys.KeysError as error:
            raise SystemExit(str(error)) from None
        # See `aegis_link.serve`: over TLS Zenoh reads and writes on one thread.
        os.environ.setdefault("ZENOH_RUNTIME", "(rx: (handover: tx))")
    found = zenoh.Config()
    for key, value in client_settings(connect, keys, [name]).items():
        found.insert_json5(key, json.dumps(value))
    try:
        return zenoh.open(found)
    except zenoh.ZError as error:
        raise SystemExit(f"--connect: {connect}: cannot connect; the robot's server has to run there: {error}") from None


def option(text: str) -> tuple:
    """Parses KEY=VALUE for a teleoperator's configuration; numbers, true and false are read as such."""
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError(f"found {text!r}; valid is KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="the plant, as in the robot file")
    parser.add_argument("--connect", default="tcp/127.0.0.1:7447", metavar="tcp|tls/HOST:PORT", help="the plant's endpoint (default: %(default)s)")
    parser.add_argument("--keys", metavar="FOLDER", help="an operator's keys, which `aegis keys` makes; TLS needs them")
    parser.add_argument(
        "--allow-plaintext-network",
        action="store_true",
        help="allow an endpoint off this machine, over plain TCP: anybody there can read and move the plant",
    )
    parser.add_argument("--rate", type=float, default=50.0, metavar="HZ", help="commands a second, 1 to 500 (default: %(default)s)")
    parser.add_argument("--lerobot", metavar="KIND", help="a teleoperator of LeRobot, for example so101_leader")
    parser.add_argument("--port", metavar="DEVICE", help="with --lerobot: the arm's serial port")
    parser.add_argument("--option", type=option, action="append", default=[], metavar="KEY=VALUE", help="with --lerobot: a field of its configuration, as id=left or use_degrees=true; may be repeated")
    parser.add_argument("--map", action="append", default=[], metavar="JOINT=CHANNEL[:SCALE[:OFFSET]]", help="with --lerobot: the channel that a joint steers; without any, channels of the joints' names")
    parser.add_argument("--script", metavar="FILE", help="steps of a demonstration or a test; - reads standard input")
    arguments = parser.parse_args()
    check_name(arguments.name)
    if not 1 <= arguments.rate <= 500:
        raise SystemExit(f"--rate: found {arguments.rate}; valid is 1 to 500")
    if arguments.lerobot and arguments.script:
        raise SystemExit("--script: found with --lerobot; valid is one of them")
    try:
        pairs = [parse_pair(text) for text in arguments.map]
    except ValueError as error:
        raise SystemExit(str(error)) from None
    terminal, device, session = Terminal(), None, None
    try:
        if arguments.script:
            device = ScriptDevice(arguments.script, terminal)
        elif arguments.lerobot:
            options = dict(arguments.option, **({"port": arguments.port} if arguments.port else {}))
            device = LeaderDevice(arguments.lerobot, options, pairs)
        elif terminal.is_there:
            device = KeyboardDevice()
        else:
            raise SystemExit("standard input is no terminal: a keyboard needs one; valid otherwise is --lerobot or --script")
        terminal.begin()
        session = opened(arguments.connect, arguments.keys, arguments.name, arguments.allow_plaintext_network)
        terminal.say(f"operator of {arguments.name} at {arguments.connect}")
        drive(session, arguments.name, device, terminal, arguments.rate)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    finally:
        if device is not None:
            device.close()
        if session is not None:
            session.close()
        terminal.close()


if __name__ == "__main__":
    main()
