"""The guard of a session's endpoint, and Zenoh's settings for bounds and access rights. Pure.
The settings of a serving session equal those of the Rust plant; tests in both languages compare them with `link/tests/serve_settings.json`."""

import ipaddress
import re

from aegis_wire import MAX_MESSAGE

SHARED_FROM = 12 * 1024  # Least size of a message that goes through shared memory, bytes: that of a small picture.
MAX_PEERS = 32  # Peers of a serving session; each may occupy MAX_MESSAGE bytes with an incomplete message.
MAX_REQUESTS = 20_000.0  # Requests of one peer, hertz.
MAX_ACTIONS = 5_000.0  # Actions of one peer, hertz: above any robot's control rate.
MAX_STOPS = 1_000.0  # Requests of one watchdog, hertz: a hundred times the rate at which a stop is asked for again.
MAX_TELEOPS = 1_000.0  # Commands of one person's program, hertz.
MAX_PULSES = 100.0  # Heartbeats of one peer, hertz: ten times the protocol's rate.
MAX_BLOCKED_US = 1_000_000  # Time that a peer which reads nothing may block a sender over TLS; Zenoh then drops the peer.
# Maximum number of 64 KiB batches that wait to be sent over TLS; Zenoh's upper limit. Messages relayed between two peers
# wait for room in the queue on the thread that sends.
MAX_BATCHES = 16
AUTHORITY, CERTIFICATE, PRIVATE = "ca.pem", "certificate.pem", "private.pem"  # The files of a key folder.

EXAMPLES = "tls/0.0.0.0:7447 with --keys FOLDER, or on this machine tcp/127.0.0.1:7447"


def guard(
    listen: str, plaintext_allowed: bool = False, keys: str | None = None, option: str = "--listen", party: str = "plant"
) -> None:
    """Raises SystemExit for an invalid endpoint, for TLS without keys, for keys without TLS, and for plain TCP off loopback
    unless `plaintext_allowed`. `option` names the endpoint's option, and `party` whose keys are needed."""
    carrier, host = _parsed(listen, option)
    if carrier == "tls" and keys is None:
        raise SystemExit(
            f"{option}: {listen}: TLS needs keys; `aegis keys` makes them for development, and --keys FOLDER names the "
            f"{party}'s, for example keys/{party}"
        )
    if carrier == "tcp" and keys is not None:
        raise SystemExit(f"{option}: {listen}: plain TCP uses no keys; begin it with tls/, or leave out --keys")
    if carrier == "tcp" and not _is_loopback(host) and not plaintext_allowed:
        raise SystemExit(
            f"{option}: {listen}: plain TCP off loopback lets anybody there read and move the plant; begin it with tls/ "
            "and make keys with `aegis keys`, or pass --allow-plaintext-network"
        )


def _parsed(listen: str, option: str) -> tuple[str, str]:
    # Zenoh reads settings after `?` and `#` in an endpoint; such a setting could disable the guard's checks.
    plain = r"[A-Za-z0-9._-]+"
    found = re.fullmatch(rf"(tcp|tls)/(?:\[([0-9A-Fa-f:.]+(?:%{plain})?)\]|({plain})):(\d{{1,5}})", listen)
    if not found or not 1 <= int(found[4]) <= 65535 or (found[2] and not _is_address(found[2])):
        raise SystemExit(f"{option}: found {listen!r}; valid is {EXAMPLES}")
    return found[1], found[2] or found[3]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def settings(listen: str, keys: str | None, plants: list[str]) -> dict:
    """Returns the settings that differ from Zenoh's defaults for a session that serves `plants`, by key.

    Over TLS: mutual authentication with the files of the folder `keys`, access control by the certificates' names, and
    bounds on the messages of each peer.
    """
    found = {
        "mode": "peer",
        "listen/endpoints": [listen],
        "listen/timeout_ms": 5000,
        "listen/exit_on_failure": True,
        "connect/endpoints": [],
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": False,
        "transport/link/protocols": [listen.split("/")[0]],
        # The default is 1 GiB.
        "transport/link/rx/max_message_size": MAX_MESSAGE,
        "transport/unicast/max_sessions": MAX_PEERS,
        # Large messages use shared memory where both ends are on one host and no access control is needed.
        "transport/shared_memory/enabled": keys is None,
        # Only pictures: ends on one host that share no memory, as in containers, would lose what goes through it.
        "transport/shared_memory/transport_optimization/message_size_threshold": SHARED_FROM,
    }
    if keys is not None:
        tls = {
            "enable_mtls": True,
            "verify_name_on_connect": True,
            "close_link_on_expiration": True,
            "root_ca_certificate": f"{keys}/{AUTHORITY}",
            "listen_certificate": f"{keys}/{CERTIFICATE}",
            "listen_private_key": f"{keys}/{PRIVATE}",
        }
        found.update({f"transport/link/tls/{name}": value for name, value in tls.items()})
        found["access_control"] = access_control(plants)
        found["transport/link/tx/queue/congestion_control/block/wait_before_close"] = MAX_BLOCKED_US
        found["downsampling"] = rates(plants)
        found["transport/link/tx/queue/size/data"] = MAX_BATCHES
    return found


def client_settings(connect: str, keys: str | None, plants: list[str]) -> dict:
    """Returns the settings that differ from Zenoh's defaults for an operator's session that connects to an endpoint where `plants`
    are served. Over TLS only a plant may send it calls."""
    found = {
        "mode": "client",
        "connect/endpoints": [connect],
        "connect/timeout_ms": 20_000,
        "connect/exit_on_failure": True,
        "listen/endpoints": [],
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": False,
        "transport/link/protocols": [connect.split("/")[0]],
        "transport/link/rx/max_message_size": MAX_MESSAGE,
    }
    if keys is not None:
        tls = {
            "enable_mtls": True,
            "verify_name_on_connect": True,
            "close_link_on_expiration": True,
            "root_ca_certificate": f"{keys}/{AUTHORITY}",
            "connect_certificate": f"{keys}/{CERTIFICATE}",
            "connect_private_key": f"{keys}/{PRIVATE}",
        }
        found.update({f"transport/link/tls/{name}": value for name, value in tls.items()})
        found["access_control"] = access_control(plants, SERVED)
    return found


def rates(plants: list[str]) -> list:
    """Returns Zenoh's `downsampling` setting. Rates are counted for each peer separately, so that a peer that floods does
    not reduce the rates of the others."""
    queries, puts = [], []
    for plant in plants:
        queries.append({"key_expr": f"aegis/{plant}/request", "freq": MAX_REQUESTS})
        queries.append({"key_expr": f"aegis/{plant}/watchdog", "freq": MAX_STOPS})
        puts.append({"key_expr": f"aegis/{plant}/action", "freq": MAX_ACTIONS})
        puts.append({"key_expr": f"aegis/{plant}/pulse", "freq": MAX_PULSES})
        puts.append({"key_expr": f"aegis/{plant}/teleop", "freq": MAX_TELEOPS})
    return [
        {"id": "requests", "flows": ["ingress"], "messages": ["query"], "rules": queries},
        {"id": "commands", "flows": ["ingress"], "messages": ["put"], "rules": puts},
    ]


_LIVELINESS = ["liveliness_query", "declare_liveliness_subscriber"]
# For each right, the kinds of message from the principal to the plant, and from the plant to the principal.
RIGHTS = {
    "Publish": (["put"], ["declare_subscriber"]),
    "Receive": (["declare_subscriber"], ["put"]),
    "Ask": (["query"], ["reply", "declare_queryable"]),
    "Answer": (["reply", "declare_queryable"], ["query"]),
    "Live": (["liveliness_token"], _LIVELINESS),
    "Watch": (_LIVELINESS, ["liveliness_token"]),
}
# Rights of each principal that connects, and the plant's keys they apply to. docs/reference/security.md has the table.
PARTIES = {
    "controller": (
        ("Ask", "request", "policy/**"),
        ("Publish", "pulse", "action", "call"),
        ("Receive", "status", "observation", "camera", "operator", "policy/**", "teleop"),
        ("Watch", "alive", "policy/**"),
    ),
    "watcher": (("Receive", "status", "observation", "camera"), ("Watch", "alive")),
    "operator": (
        ("Publish", "operator", "teleop"),
        ("Receive", "status", "observation", "camera", "call"),
        ("Watch", "alive"),
    ),
    "policy": (("Answer", "policy/**"), ("Publish", "policy/**"), ("Live", "policy/**")),
    "watchdog": (("Ask", "watchdog"), ("Receive", "status", "action", "executed"), ("Watch", "alive")),
}

# Rights of a plant in an operator's session, which it passes on for its controller.
SERVED = {"plant": (("Receive", "teleop"), ("Publish", "call"))}


def access_control(plants: list[str], parties: dict = PARTIES) -> dict:
    """Returns Zenoh's `access_control` setting for a session with peers of these `parties`. A certificate named `controller` is
    valid for every plant, one named `controller.NAME` for the plant NAME alone. Everything that is not listed is denied, in both
    directions."""
    rules, subjects, policies = [], [], []
    for party, rights in parties.items():
        for plant in plants:
            subject, names = f"{party}.{plant}", []
            for right, *leaves in rights:
                for leaf in leaves:
                    key = f"aegis/{plant}/{leaf}"
                    for flow, messages in zip(("ingress", "egress"), RIGHTS[right]):
                        names.append(f"{subject}: {right} {key}, {flow}")
                        rule = {"id": names[-1], "permission": "allow", "flows": [flow]}
                        rules.append({**rule, "messages": messages, "key_exprs": [key]})
            subjects.append({"id": subject, "cert_common_names": [party, subject]})
            policies.append({"rules": names, "subjects": [subject]})
    return {
        "enabled": True,
        "default_permission": "deny",
        "rules": rules,
        "subjects": subjects,
        "policies": policies,
    }
