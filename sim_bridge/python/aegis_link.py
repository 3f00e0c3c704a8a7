"""Serves a plant over Zenoh: a shell that feeds `aegis_host.Host` with messages and time, on the caller's thread.
Callbacks only push into a bounded queue; the plant never moves on a thread of Zenoh's."""

import argparse
import ipaddress
import queue
import re
import secrets
import signal
import sys
import threading
import time

import zenoh

from aegis_host import Host, Plant
from aegis_wire import MAX_MESSAGE

BEAT = 0.1  # Seconds between heartbeats.
QUEUE = 256  # Messages that may wait while the plant moves. A request that finds no place is dropped and sent again.


def arguments(parser: argparse.ArgumentParser, name: str) -> dict:
    """Asks for what every serving program asks for, and reads the command line: the options of `serve`, and the
    parser's own."""
    parser.add_argument("--name", default=name, help="1 to 64 letters, digits, _ and - (default: %(default)s)")
    parser.add_argument("--listen", default="tcp/127.0.0.1:7447", metavar="tcp/HOST:PORT", help="default: %(default)s")
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
        help="free-running, stop when no action has come for so long (default: %(default)s)",
    )
    return vars(parser.parse_args())


def serve(
    plant: Plant,
    name: str,
    listen: str = "tcp/127.0.0.1:7447",
    allow_plaintext_network: bool = False,
    command_timeout: int = 200,
) -> None:
    """Serves `plant` until SIGINT or SIGTERM. Prints one line once others can reach it. Call it on the main thread.

    `command_timeout` is in milliseconds. SystemExit says what is wrong with the name or the endpoint, or that somebody
    serves that name already.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise SystemExit(f"--name: {name!r}: valid are 1 to 64 letters, digits, `_` and `-`")
    guard(listen, allow_plaintext_network)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    host = Host(secrets.randbits(64), plant, command_timeout * 1_000_000)
    try:
        session = zenoh.open(config(listen))
    except zenoh.ZError as error:
        raise SystemExit(f"--listen: {listen}: cannot listen there within 5 s (is it taken?): {error}") from None
    try:
        run(session, f"aegis/{name}", host, stop, lambda: print(f"serving {name} at {listen}", flush=True))
    finally:
        host.free()
        session.close()


def run(session, root: str, host: Host, stop: threading.Event, ready) -> None:
    """Serves a host under the keys `root/…` until `stop` is set; `ready` is called once others can reach it."""
    if list(session.liveliness().get(f"{root}/alive", timeout=0.5)):
        raise SystemExit(f"plant {root.removeprefix('aegis/')!r} is already served here")
    clock = time.monotonic_ns
    begin = clock()
    now = lambda: clock() - begin  # noqa: E731
    inbox = queue.Queue(QUEUE)

    def push(take):
        def callback(message):
            try:
                inbox.put_nowait((take, message, now()))
            except queue.Full:
                pass

        return callback

    def answer(query, at: int) -> None:
        data = query.payload.to_bytes() if query.payload is not None else b""
        with query:
            put(query.reply, query.key_expr, host.request(data, at), express=True)

    quick = {"congestion_control": zenoh.CongestionControl.DROP, "express": True}
    requests = session.declare_queryable(f"{root}/request", push(answer))
    hear = lambda method: push(lambda sample, at: method(sample.payload.to_bytes(), at))  # noqa: E731
    pulses = session.declare_subscriber(f"{root}/pulse", hear(host.pulse))
    actions = session.declare_subscriber(f"{root}/action", hear(host.action))
    observations = session.declare_publisher(f"{root}/observation", **quick)
    statuses = session.declare_publisher(f"{root}/status", **quick)
    heart = threading.Thread(target=beat, args=(statuses, host, now, stop), name="aegis-heart", daemon=True)
    heart.start()
    alive = session.liveliness().declare_token(f"{root}/alive")
    ready()

    tick = None
    while not stop.is_set():
        period = host.period()
        tick = None if period is None else now() + period if tick is None else tick
        wait = BEAT if tick is None else min(BEAT, max(0, tick - now()) / 1e9)
        try:
            take, message, at = inbox.get(timeout=wait) if wait else inbox.get_nowait()
            take(message, at)
        except queue.Empty:
            # Only with an empty queue is it known that nobody has been heard.
            host.expire(now())
        warning = host.warning(now())
        if warning:
            print(f"warning: {root.removeprefix('aegis/')}: {warning}", file=sys.stderr, flush=True)
        if tick is not None and host.period() is not None and now() >= tick:
            moved = host.tick(now())
            if moved is not None:
                put(observations.put, moved)
            # A late period is lost: no burst follows it.
            tick = max(tick + host.plant.period_ns, now())
    heart.join()
    for declared in (alive, requests, pulses, actions, observations, statuses):
        declared.undeclare()


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


def guard(listen: str, allowed: bool) -> None:
    """Refuses an endpoint that others can reach, for what goes over it is neither encrypted nor authenticated."""
    found = re.fullmatch(r"tcp/(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})", listen)
    if not found or not 1 <= int(found[3]) <= 65535:
        raise SystemExit(f"--listen: {listen!r}: valid is tcp/HOST:PORT, for example tcp/127.0.0.1:7447")
    host = found[1] or found[2]
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not (loopback or allowed):
        raise SystemExit(
            f"--listen: {listen}: plain TCP off loopback lets anybody there move the plant; "
            "allow it by --allow-plaintext-network or use loopback"
        )


def config(listen: str) -> zenoh.Config:
    """One endpoint, no scouting, limited messages, shared memory for large ones."""
    found = zenoh.Config()
    for key, value in {
        "mode": '"peer"',
        "listen/endpoints": f'["{listen}"]',
        "listen/timeout_ms": "5000",
        "listen/exit_on_failure": "true",
        "connect/endpoints": "[]",
        "scouting/multicast/enabled": "false",
        "scouting/gossip/enabled": "false",
        "transport/link/rx/max_message_size": str(MAX_MESSAGE),
        "transport/shared_memory/enabled": "true",
    }.items():
        found.insert_json5(key, value)
    return found
