"""Server of a policy over Zenoh: feeds `aegis_policy.PolicyHost` with questions, one after another, on the caller's thread."""

import argparse
import queue
import sys

from aegis_access import guard
from aegis_link import check_name, listening, put, say, signals_to_end, warn
from aegis_policy import PolicyHost

WAIT = 0.1  # Seconds between two looks for a signal.
QUEUE = 64  # Questions that wait; one beyond it is dropped, and its controller's deadline passes.


def arguments(parser: argparse.ArgumentParser, name: str) -> dict:
    """Adds the options of `serve` to a parser and parses the command line; returns these options and the parser's own."""
    parser.add_argument("--name", default=name, help="1 to 64 letters, digits, _ and - (default: %(default)s)")
    parser.add_argument(
        "--listen", default="tcp/127.0.0.1:7450", metavar="tcp/127.0.0.1:PORT", help="default: %(default)s"
    )
    return vars(parser.parse_args())


def serve(make, name: str, listen: str = "tcp/127.0.0.1:7450") -> None:
    """Serves the policy that `make` returns until a signal arrives. Prints one line once it can be asked. Must be called on the main
    thread. Raises SystemExit, which says what is wrong with the policy, the name or the endpoint."""
    check_name(name)
    guard(listen)
    told = signals_to_end()
    try:
        host = PolicyHost(make)
    except TypeError as error:
        raise SystemExit(str(error)) from None
    session = listening(listen, None, name)
    try:
        run(session, f"aegis/{name}/policy/own", host, told, lambda: say(f"serving {name} at {listen}", sys.stdout))
    finally:
        session.close()


def run(session, key: str, host: PolicyHost, told: list, ready) -> None:
    """Answers the questions at a key until `told` is not empty; `ready` is called once they can be asked."""
    waiting = queue.Queue(QUEUE)

    def asked(query) -> None:
        try:
            waiting.put_nowait(query)
        except queue.Full:
            query.drop()

    questions = session.declare_queryable(key, asked)
    alive = session.liveliness().declare_token(f"{key}/{host.first.model}")
    ready()
    while not told:
        try:
            query = waiting.get(timeout=WAIT)
        except queue.Empty:
            continue
        with query:
            data = query.payload.to_bytes() if query.payload is not None else b""
            put(query.reply, query.key_expr, host.answer(data), express=True)
        while host.faults:
            warn(host.faults.pop(0))
    alive.undeclare()
    questions.undeclare()
