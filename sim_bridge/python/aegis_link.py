"""Serves a plant over Zenoh: a shell that feeds `aegis_host.Host` with messages and time, on the caller's thread.
Callbacks only put into a bounded inbox; the plant never moves on a thread of Zenoh's."""

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
# Nanoseconds between two looks into the inbox that are counted as a controller's silence. What arrived in a longer pause may not be
# there yet when it ends, for a method of the plant may have kept every other thread from running.
LONGEST_PAUSE_NS = 500_000_000
TIMEOUTS_MS = (1, 60_000)  # A plant's watchdog may take.
LAST_TRIES_NS = 5_000_000_000  # For a plant's `stop` to work when the serving ends.
# What ends the serving, and so stops the plant. SIGHUP comes when a terminal or an SSH session closes, and SIGTSTP, which
# would leave a plant that nobody watches, from Ctrl-Z. The others only where they would end the process as well.
ALWAYS_ENDS = ("SIGINT", "SIGTERM")
ENDS_BY_DEFAULT = ("SIGHUP", "SIGQUIT", "SIGTSTP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXCPU")


def arguments(parser: argparse.ArgumentParser, name: str) -> dict:
    """Asks for what every serving program asks for, and reads the command line: the options of `serve`, and the
    parser's own."""
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
    """Serves `plant` until a signal ends it, and then stops it. Prints one line once others can reach it. Call it on the
    main thread.

    The signals are SIGINT, SIGTERM, SIGHUP unless it is ignored as by `nohup`, SIGQUIT, SIGTSTP, and some others that
    would end the process; none of them interrupts a method of the plant. SIGKILL and a crash stop nothing.

    `keys` is the plant's folder of `aegis keys`, for an endpoint that begins with tls/. `command_timeout` is in
    milliseconds, 1 to 60000. SystemExit says what is wrong with the plant, the name, the endpoint, the timeout or a file
    of the keys, that the name is served already, or that the plant's `stop` did not work in the end.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise SystemExit(f"--name: {name!r}: valid are 1 to 64 letters, digits, `_` and `-`")
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
        # Zenoh reads and writes a TLS connection on two threads without a lock, and may crash; on one it cannot. It asks the
        # environment when it is first used. Over TCP, reading must go on while a sender waits.
        os.environ.setdefault("ZENOH_RUNTIME", "(rx: (handover: tx))")
    host = Host(secrets.randbits(64), plant, command_timeout * 1_000_000)
    try:
        session = zenoh.open(config(listen, keys, name))
    except zenoh.ZError as error:
        which = f" with the keys in {keys}" if keys is not None else ""
        raise SystemExit(f"--listen: {listen}: cannot listen there{which} within 5 s (is it taken?): {error}") from None
    try:
        run(session, f"aegis/{name}", host, told, lambda: say(f"serving {name} at {listen}", sys.stdout))
    finally:
        host.free()
        try:
            bring_to_stand(host, name)
        finally:
            session.close()


def check_timeout(milliseconds: int) -> None:
    """Raises SystemExit for a command timeout that no watchdog can have."""
    least, most = TIMEOUTS_MS
    if type(milliseconds) is not int or not least <= milliseconds <= most:
        valid = f"a whole number from {least} to {most}, milliseconds"
        raise SystemExit(f"--command-timeout: found {milliseconds!r}; valid is {valid}")


def signals_to_end() -> list:
    """Has each signal that ends the process put its number into the list that this returns, and do nothing else."""
    told = []
    for name in ALWAYS_ENDS + ENDS_BY_DEFAULT:
        number = getattr(signal, name, None)
        # A handler of somebody else's, and what a shell ignores for its child, stays as it is.
        if number is not None and (name in ALWAYS_ENDS or signal.getsignal(number) is signal.SIG_DFL):
            # No lock is taken: a second signal may come while the first is handled.
            signal.signal(number, lambda number, _: told.append(number))
    return told


def bring_to_stand(host: Host, name: str, clock=time.monotonic_ns, sleep=time.sleep) -> None:
    """Calls the plant's `stop` until it has worked, for five seconds; SystemExit where it has not."""
    until = clock() + LAST_TRIES_NS
    while not host.settle():
        tell_faults(host, name, clock())
        if clock() >= until:
            what = "ends although `stop` has not worked: the plant may still move; use its own emergency stop"
            raise SystemExit(f"{name}: {what}")
        sleep(BEAT)


def tell_faults(host: Host, name: str, now: int) -> None:
    """Tells people what the plant's own methods did wrong."""
    for fault in host.faults.tell(now):
        warn(f"{name}: {fault}")


def warn(text: str) -> None:
    """Tells people of something that ends nothing."""
    say(f"warning: {text}", sys.stderr)


def say(line: str, stream) -> None:
    """Prints a line. A plant is served, and stopped in the end, although nobody can read it any more."""
    try:
        print(line, file=stream, flush=True)
    except (OSError, ValueError):
        pass


def run(session, root: str, host: Host, told: list, ready) -> None:
    """Serves a host under the keys `root/…` until something is in `told`; `ready` is called once others can reach it."""
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
    pulses = session.declare_subscriber(f"{root}/pulse", hear(inbox.pulse))
    actions = session.declare_subscriber(f"{root}/action", hear(inbox.action))
    observations = session.declare_publisher(f"{root}/observation", **quick)
    statuses = session.declare_publisher(f"{root}/status", **quick)
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
            # Only with an empty inbox is it known that nobody has been heard.
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
            if moved is not None:
                put(observations.put, moved)
            # A late period is lost: no burst follows it.
            tick = max(tick + host.plant.period_ns, now())
    stop.set()
    heart.join()
    for declared in (alive, requests, pulses, actions, observations, statuses):
        declared.undeclare()


def take(host: Host, batch) -> None:
    """Feeds a host with a batch of the inbox, and answers its request."""
    host.overlook(batch.crowded_out, "more of them came than the plant takes")
    host.overlook(batch.oversized, "it is larger than any message to a plant")
    # Heartbeats first: a request of another controller may ask whether this one still lives.
    for data, at in batch.pulses:
        host.pulse(data, at)
    for data, at in batch.actions:
        host.action(data, at)
    if batch.request is not None:
        query, at = batch.request
        data = query.payload.to_bytes() if query.payload is not None else b""
        with query:
            put(query.reply, query.key_expr, host.request(data, at), express=True)


def beat(publisher, host: Host, now, stop: threading.Event) -> None:
    """The plant's heartbeat, whatever the plant is doing."""
    while True:
        put(publisher.put, host.status(now()))
        if stop.wait(BEAT):
            return


def put(method, *arguments, **options) -> None:
    """Sends. What cannot be sent is asked for again, made up for by the next, or missed by whoever listens for it."""
    try:
        method(*arguments, **options)
    except zenoh.ZError:
        pass


def config(listen: str, keys: str | None, name: str) -> zenoh.Config:
    """Makes Zenoh's configuration for a session that serves the plant `name`."""
    found = zenoh.Config()
    for key, value in settings(listen, keys, [name]).items():
        found.insert_json5(key, json.dumps(value))
    return found
