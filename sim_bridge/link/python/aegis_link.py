"""Server of a plant over Zenoh: feeds `aegis_host.Host` with messages and time, on the caller's thread.
Zenoh's callbacks only put messages into a bounded inbox; the plant never moves on one of Zenoh's threads."""

import argparse
import json
import os
import re
import secrets
import signal
import sys
import threading
import time

import zenoh

import aegis_keys
from aegis_access import guard, settings
from aegis_host import Host
from aegis_inbox import Inbox
from aegis_plant import Plant, check

BEAT = 0.1  # Seconds between heartbeats.
# Longest time between two reads of the inbox that counts as the controller's silence, nanoseconds; the part of a pause
# beyond it does not count. Messages that arrived during a longer pause may not be in the inbox yet when the pause ends,
# because a method of the plant may have kept every other thread from running.
LONGEST_PAUSE_NS = 500_000_000
TIMEOUTS_MS = (1, 60_000)  # Range of the command timeout, milliseconds.
LAST_TRIES_NS = 5_000_000_000  # Time limit for the plant's `stop` to succeed when the server ends.
# Signals that end the server, which then stops the plant. SIGHUP is sent when a terminal or an SSH session closes. SIGTSTP
# is sent by Ctrl-Z and would leave the plant unsupervised. ENDS_BY_DEFAULT are handled only where their action is the default.
ALWAYS_ENDS = ("SIGINT", "SIGTERM")
ENDS_BY_DEFAULT = (
    *("SIGHUP", "SIGQUIT", "SIGTSTP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGXCPU", "SIGXFSZ"),
    *("SIGIO", "SIGPWR", "SIGSTKFLT"),
)
# Signals that suspend a process in the background which reads from its terminal or writes to it; the robot would go on moving.
SUSPEND = ("SIGTTIN", "SIGTTOU")


def arguments(parser: argparse.ArgumentParser, name: str) -> dict:
    """Adds the options of `serve` to a parser and parses the command line; returns these options and the parser's own."""
    parser.add_argument("--name", default=name, help="1 to 64 letters, digits, _ and - (default: %(default)s)")
    parser.add_argument(
        "--listen", default="tcp/127.0.0.1:7447", metavar="tcp|tls/HOST:PORT", help="default: %(default)s"
    )
    parser.add_argument(
        "--keys", metavar="FOLDER", help="folder of the plant's keys, which `aegis keys` makes; TLS needs them"
    )
    parser.add_argument(
        "--allow-plaintext-network",
        action="store_true",
        help="allow an endpoint off this machine, over plain TCP: anybody there can read and move the plant",
    )
    parser.add_argument(
        "--command-timeout",
        type=int,
        default=200,
        metavar="MS",
        help="free-running, stop when no action has come for so long, 1 to 60000 (default: %(default)s)",
    )
    return vars(parser.parse_args())


def serve(
    plant: Plant,
    name: str,
    listen: str = "tcp/127.0.0.1:7447",
    keys: str | None = None,
    allow_plaintext_network: bool = False,
    command_timeout: int = 200,
) -> None:
    """Serves `plant` until a signal arrives, and then stops the plant. Prints one line once controllers can reach the plant.
    Must be called on the main thread.

    The signals are SIGINT, SIGTERM, SIGHUP unless ignored (as under `nohup`), SIGQUIT, SIGTSTP, and all others that would end
    the process and that a program can handle; no signal interrupts a method of the plant, and none of a terminal suspends
    the process. After SIGKILL, SIGSTOP or a crash the plant is not stopped.

    `keys` is the plant's folder of `aegis keys`, for an endpoint that begins with tls/. `command_timeout` is in
    milliseconds, 1 to 60000. Raises SystemExit, which states what is wrong with the plant, the name, the endpoint, the
    timeout or a key file, that the name is already served, or that the plant's `stop` did not succeed at the end.
    """
    check_name(name)
    guard(listen, allow_plaintext_network, keys)
    check_timeout(command_timeout)
    try:
        check(plant)
        for warning in aegis_keys.check(keys, name) if keys is not None else ():
            warn(warning)
    except (TypeError, aegis_keys.KeysError) as error:
        raise SystemExit(str(error)) from None
    told = signals_to_end()
    if keys is not None:
        # Zenoh reads and writes a TLS connection on two threads without a lock, and may crash; on one thread it cannot. Zenoh
        # reads this variable when it is first used. Over TCP two threads stay: reading must continue while a sender waits.
        os.environ.setdefault("ZENOH_RUNTIME", "(rx: (handover: tx))")
    host = Host(secrets.randbits(64), plant, command_timeout * 1_000_000)
    session = listening(listen, keys, name)
    try:
        run(session, f"aegis/{name}", host, told, lambda: say(f"serving {name} at {listen}", sys.stdout))
    finally:
        host.free()
        try:
            bring_to_stand(host, name)
        finally:
            session.close()


def check_name(name: str) -> None:
    """Raises SystemExit for a name that cannot be part of a key."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise SystemExit(f"--name: {name!r}: valid are 1 to 64 letters, digits, `_` and `-`")


def listening(listen: str, keys: str | None, name: str) -> zenoh.Session:
    """Opens a session that listens at an endpoint. Raises SystemExit where it cannot."""
    try:
        return zenoh.open(config(listen, keys, name))
    except zenoh.ZError as error:
        which = f" with the keys in {keys}" if keys is not None else ""
        raise SystemExit(f"--listen: {listen}: cannot listen there{which} within 5 s (is it taken?): {error}") from None


def check_timeout(milliseconds: int) -> None:
    """Raises SystemExit for a command timeout that is not a whole number in `TIMEOUTS_MS`."""
    least, most = TIMEOUTS_MS
    if type(milliseconds) is not int or not least <= milliseconds <= most:
        valid = f"a whole number from {least} to {most}, milliseconds"
        raise SystemExit(f"--command-timeout: found {milliseconds!r}; valid is {valid}")


def signals_to_end() -> list:
    """Installs handlers for the signals that end the server; each handler only appends the signal's number to the returned
    list."""
    told = []

    def end(number, _) -> None:  # No lock is taken, because a second signal may arrive while the first is handled.
        told.append(number)

    named = {getattr(signal, name, None) for name in ALWAYS_ENDS + ENDS_BY_DEFAULT} - {None}
    always = {getattr(signal, name) for name in ALWAYS_ENDS}
    for number in sorted(named | set(range(signal.SIGRTMIN, signal.SIGRTMAX + 1))):
        # Other handlers, and signals that a shell ignores for its child, stay as they are.
        if number in always or signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)
    for name in SUSPEND:
        if signal.getsignal(getattr(signal, name)) is signal.SIG_DFL:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    return told


def bring_to_stand(host: Host, name: str, clock=time.monotonic_ns, sleep=time.sleep) -> None:
    """Calls the plant's `stop` until it succeeds, for at most five seconds; raises SystemExit where it does not."""
    until = clock() + LAST_TRIES_NS
    while not host.settle():
        tell_faults(host, name, clock())
        if clock() >= until:
            what = "ends although `stop` has not worked: the plant may still move; use its own emergency stop"
            raise SystemExit(f"{name}: {what}")
        sleep(BEAT)


def tell_faults(host: Host, name: str, now: int) -> None:
    """Writes warnings about faults of the plant's own methods to standard error."""
    for fault in host.faults.tell(now):
        warn(f"{name}: {fault}")


def warn(text: str) -> None:
    """Writes a warning to standard error."""
    say(f"warning: {text}", sys.stderr)


def say(line: str, stream) -> None:
    """Prints a line. Errors of the stream are ignored: the plant is served, and stopped at the end, without a reader."""
    try:
        print(line, file=stream, flush=True)
    except (OSError, ValueError):
        pass


def run(session, root: str, host: Host, told: list, ready) -> None:
    """Serves a host under the keys `root/…` until `told` is not empty; `ready` is called once controllers can reach the
    plant."""
    name = root.removeprefix("aegis/")
    if list(session.liveliness().get(f"{root}/alive", timeout=0.5)):
        raise SystemExit(f"plant {name!r} is already served here")
    clock = time.monotonic_ns
    begin = clock()
    now = lambda: clock() - begin  # noqa: E731
    inbox = Inbox()

    def hear(put):
        return lambda sample: put(len(sample.payload), sample.payload.to_bytes, now())

    def asked(query) -> None:
        inbox.request(0 if query.payload is None else len(query.payload), query, now())

    quick = {"congestion_control": zenoh.CongestionControl.DROP, "express": True}
    requests = session.declare_queryable(f"{root}/request", asked)
    def told_to_stop(query) -> None:
        inbox.stop(0 if query.payload is None else len(query.payload), query, now())

    watchdogs = session.declare_queryable(f"{root}/watchdog", told_to_stop)
    pulses = session.declare_subscriber(f"{root}/pulse", hear(inbox.pulse))
    actions = session.declare_subscriber(f"{root}/action", hear(inbox.action))
    observations = session.declare_publisher(f"{root}/observation", **quick)
    executed = session.declare_publisher(f"{root}/executed", **quick)
    statuses = session.declare_publisher(f"{root}/status", **quick)
    # Frames are large: they go after observations and commands.
    pictures = session.declare_publisher(
        f"{root}/camera", congestion_control=zenoh.CongestionControl.DROP, priority=zenoh.Priority.DATA_LOW
    )
    stop = threading.Event()
    heart = threading.Thread(target=beat, args=(statuses, host, now, stop), name="aegis-heart", daemon=True)
    heart.start()
    alive = session.liveliness().declare_token(f"{root}/alive")
    ready()

    tick, taken = None, now()
    while not told:
        period = host.period()
        tick = None if period is None else now() + period if tick is None else tick
        wait = BEAT if tick is None else min(BEAT, max(0, tick - now()) / 1e9)
        batch = inbox.take(wait)
        before, taken = taken, now()
        host.discount(taken - before - LONGEST_PAUSE_NS, taken)
        if batch.is_empty():
            # With messages still to be handled, the controller may not be silent.
            host.expire(taken)
        take(host, batch)
        if host.period() is None:
            host.settle()
        tell_faults(host, name, now())
        warning = host.warning(now())
        if warning:
            warn(f"{name}: {warning}")
        if tick is not None and host.period() is not None and now() >= tick:
            moved = host.tick(now())
            echo = host.executed()
            if echo is not None:
                put(executed.put, echo)
            if moved is not None:
                put(observations.put, moved)
            for frame in host.frames(begin):
                put(pictures.put, frame)
            tick = next_tick(tick, host.plant.period_ns, now())
    stop.set()
    heart.join()
    for declared in (alive, requests, watchdogs, pulses, actions, observations, executed, statuses, pictures):
        declared.undeclare()


def next_tick(tick: int, period: int, now: int) -> int:
    """Returns when the period after the one of `tick` begins, nanoseconds. A period that was missed is skipped, and the next one
    lasts its whole time: two actions are never executed within one period."""
    return tick + period if tick + period > now else now + period


def take(host: Host, batch) -> None:
    """Passes a batch of the inbox to a host, and answers the batch's request."""
    host.overlook(batch.crowded_out, "more of them came than the plant takes")
    host.overlook(batch.oversized, "it is larger than any message to a plant")
    # A watchdog's stop comes before whatever a controller has sent meanwhile.
    for query, at in batch.stops:
        answer(query, lambda data, at=at: host.watchdog(data, at))
    # Heartbeats first: a claim by another controller depends on whether the present one is still heard.
    for data, at in batch.pulses:
        host.pulse(data, at)
    for data, at in batch.actions:
        host.action(data, at)
    if batch.request is not None:
        query, at = batch.request
        answer(query, lambda data: host.request(data, at))


def answer(query, ask) -> None:
    """Replies to a query with what `ask` returns for its bytes."""
    data = query.payload.to_bytes() if query.payload is not None else b""
    with query:
        put(query.reply, query.key_expr, ask(data), express=True)


def beat(publisher, host: Host, now, stop: threading.Event) -> None:
    """Publishes the plant's heartbeat every `BEAT` seconds until `stop` is set."""
    while True:
        put(publisher.put, host.status(now()))
        if stop.wait(BEAT):
            return


def put(method, *arguments, **options) -> None:
    """Sends a message and ignores Zenoh's errors: a lost answer is asked for again, a lost observation is superseded by the
    next, and the receiver detects missing heartbeats."""
    try:
        method(*arguments, **options)
    except zenoh.ZError:
        pass


def config(listen: str, keys: str | None, name: str) -> zenoh.Config:
    """Returns Zenoh's configuration for a session that serves the plant `name`."""
    found = zenoh.Config()
    for key, value in settings(listen, keys, [name]).items():
        found.insert_json5(key, json.dumps(value))
    return found
