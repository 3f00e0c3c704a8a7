"""openpi's websocket server and client with a no-op policy, each in its own process.
Owns the parts that are passed to openpi's code: the policy, the observation in openpi's form, and the timing of `infer`."""

import hashlib
import logging
import sys
import time
from importlib.metadata import version

from openpi_client import base_policy, msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy

import peer_common as common

SERVER = "src/openpi/serving/websocket_policy_server.py"


class Still(base_policy.BasePolicy):
    """No-op policy: returns the same chunk every time."""

    def __init__(self):
        self.actions = common.answer()

    def infer(self, obs: dict) -> dict:
        return {"actions": self.actions}

    def reset(self) -> None:
        pass


def observation(scene: dict) -> dict:
    """Returns the observation of a scene, with the names of openpi's LIBERO example where that example has the value."""
    made = {
        "observation/joint_position": scene["joint_positions"],
        "observation/end_effector": scene["end_effector"],
        "observation/gripper_position": scene["gripper"],
        "observation/objects": scene["objects"],
        "step": scene["step"],
        "plant_time": scene["plant_time"],
        "task_index": common.TASK,
        "prompt": common.INSTRUCTION,
    }
    for name, camera in zip(("observation/image", "observation/wrist_image"), common.CAMERAS, strict=True):
        if camera in scene["pictures"]:
            made[name] = scene["pictures"][camera]
    return made


def serve(args) -> None:
    sys.path.insert(0, str(args.source / "src"))
    from openpi.serving.websocket_policy_server import WebsocketPolicyServer

    logging.basicConfig(level=logging.INFO, force=True)  # As scripts/serve_policy.py sets it.
    WebsocketPolicyServer(Still(), host=common.HOST, port=args.port).serve_forever()


def drive(args) -> None:
    common.wait_for(args.port)
    client = WebsocketClientPolicy(host=common.HOST, port=args.port)
    observations = [observation(scene) for scene in common.scenes(args.pictures)]
    round_trips, policy = [], []
    for index in range(args.warmup + args.times):
        seen = observations[index % len(observations)]
        begin = time.perf_counter_ns()
        action = client.infer(seen)
        end = time.perf_counter_ns()
        round_trips.append(end - begin)
        policy.append(round(action["server_timing"]["infer_ms"] * 1e6))
        common.check(action["actions"])
    server = (args.source / SERVER).read_bytes()
    common.write(
        args.report,
        {
            "round_trips_ns": round_trips,
            "policy_ns": policy,
            "request_bytes": len(msgpack_numpy.packb(observations[0])),
            "answer_bytes": len(msgpack_numpy.packb(action)),
            "versions": {name: version(name) for name in ("openpi-client", "websockets", "msgpack", "numpy")},
            "settings": {
                "server": f"{SERVER}, SHA-256 {hashlib.sha256(server).hexdigest()}",
                "compression": "none, as openpi sets it on both sides",
                "policy_time": "server_timing.infer_ms of each answer, as openpi measures it",
                "until": "WebsocketClientPolicy.infer has returned",
            },
        },
    )


if __name__ == "__main__":
    arguments = common.arguments()
    {"serve": serve, "drive": drive}[arguments.side](arguments)
