"""A Zenoh router, as `rmw_zenohd` is one. Says its port on standard output, and routes until its standard input ends."""

import json
import socket
import sys

import zenoh

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
config = zenoh.Config()
for key, value in (
    ("mode", "router"),
    ("listen/endpoints", [f"tcp/127.0.0.1:{port}"]),
    ("scouting/multicast/enabled", False),
    ("scouting/gossip/enabled", True),
):
    config.insert_json5(key, json.dumps(value))
with zenoh.open(config):
    print(port, flush=True)
    sys.stdin.read()
