"""LeRobot's asynchronous policy server and robot client with a no-op policy, each in its own process.
Owns the parts that are passed to LeRobot's code: the policy, a robot that only shows scenes, and the timing of both."""

import logging
import os
import pickle
import queue
import signal
import threading
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version

import torch
from lerobot.async_inference import policy_server
from lerobot.async_inference.configs import PolicyServerConfig, RobotClientConfig
from lerobot.async_inference.helpers import TimedObservation
from lerobot.async_inference.robot_client import RobotClient
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from lerobot.processor import DeviceProcessorStep, PolicyProcessorPipeline, RenameObservationsProcessorStep
from lerobot.robots import Robot, RobotConfig
from lerobot.utils.constants import POLICY_POSTPROCESSOR_DEFAULT_NAME, POLICY_PREPROCESSOR_DEFAULT_NAME

import peer_common as common

POLICY = "noop"  # A folder in the server's working directory; it holds the policy's two pipelines, no weights.
AXES = ("x", "y", "z", "qw", "qx", "qy", "qz")
# "lean" omits everything that LeRobot does not require; the other variants run as LeRobot users' servers do.
VARIANTS = {
    "lean": {"server": {"inference_latency": 0.0}, "log": "WARNING", "pipelines": "least"},
    "usual": {"server": {"inference_latency": 0.0}, "log": "as shipped", "pipelines": "act"},
    "as-shipped": {"server": {}, "log": "as shipped", "pipelines": "act"},
}


def numbers(scene: dict) -> dict[str, float]:
    """Returns the robot's state in the form of LeRobot's robots: one named number for each value."""
    made = {f"joint_{index}.pos": float(value) for index, value in enumerate(scene["joint_positions"])}
    made |= {f"finger_{index}.pos": float(value) for index, value in enumerate(scene["gripper"])}
    for name, pose in ({"end_effector": scene["end_effector"]} | scene["objects"]).items():
        made |= {f"{name}.{axis}": float(value) for axis, value in zip(AXES, pose, strict=True)}
    return made


@RobotConfig.register_subclass("showing")
@dataclass(kw_only=True)
class ShowingConfig(RobotConfig):
    pictures: bool = False


class Showing(Robot):
    """Robot without hardware: shows the scenes in turn and ignores actions."""

    config_class = ShowingConfig
    name = "showing"

    def __init__(self, config: ShowingConfig):
        super().__init__(config)
        scenes = common.scenes(config.pictures)
        self.state = list(numbers(scenes[0]))
        self.shown = [numbers(s) | s["pictures"] | {"task_index": common.TASK} for s in scenes]
        self.turn = 0

    @property
    def observation_features(self) -> dict:
        pictures = {name: common.PICTURE for name in common.CAMERAS if name in self.shown[0]}
        return dict.fromkeys(self.state, float) | pictures

    @property
    def action_features(self) -> dict:
        return {f"action_{index}": float for index in range(common.ACTION_WIDTH)}

    def get_observation(self) -> dict:
        self.turn += 1
        return self.shown[self.turn % len(self.shown)]

    def send_action(self, action: dict) -> dict:
        return action

    is_connected = True
    is_calibrated = True

    def connect(self, calibrate: bool = True) -> None:
        pass

    calibrate = configure = disconnect = connect


class Still:
    """No-op policy: returns the same chunk every time, and stores the duration of each inference in nanoseconds."""

    taken_ns: list[int] = []

    def __init__(self):
        self.config = config()
        self.actions = torch.from_numpy(common.answer()).unsqueeze(0)

    @classmethod
    def from_pretrained(cls, path: str) -> "Still":
        return cls()

    def to(self, device: str) -> None:
        pass

    def predict_action_chunk(self, observation: dict) -> torch.Tensor:
        begin = time.perf_counter_ns()
        actions = self.actions
        self.taken_ns.append(time.perf_counter_ns() - begin)
        return actions


def config() -> ACTConfig:
    height, width, channels = common.PICTURE
    cameras = {f"observation.images.{camera}" for camera in common.CAMERAS}
    state = PolicyFeature(FeatureType.STATE, (len(numbers(common.scenes(False)[0])),))
    picture = PolicyFeature(FeatureType.VISUAL, (channels, height, width))
    return ACTConfig(
        device="cpu",
        chunk_size=common.CHUNK,
        n_action_steps=common.CHUNK,
        input_features={"observation.state": state} | dict.fromkeys(sorted(cameras), picture),
        output_features={"action": PolicyFeature(FeatureType.ACTION, (common.ACTION_WIDTH,))},
    )


def save_pipelines(which: str) -> None:
    """Saves the policy's pipelines where `from_pretrained` finds them. The smallest pipelines that the server accepts hold
    the steps that it overrides by name."""
    if which == "act":
        features = config().input_features | config().output_features
        shapes = {name: (3, 1, 1) if len(feature.shape) == 3 else feature.shape for name, feature in features.items()}
        stats = {name: {"mean": torch.zeros(shape), "std": torch.ones(shape)} for name, shape in shapes.items()}
        before, after = make_act_pre_post_processors(config(), stats)
    else:
        steps = [RenameObservationsProcessorStep(rename_map={}), DeviceProcessorStep(device="cpu")]
        before = PolicyProcessorPipeline(steps=steps, name=POLICY_PREPROCESSOR_DEFAULT_NAME)
        after = PolicyProcessorPipeline(steps=steps[1:], name=POLICY_POSTPROCESSOR_DEFAULT_NAME)
    before.save_pretrained(POLICY)
    after.save_pretrained(POLICY)


def serve(args) -> None:
    variant = VARIANTS[args.variant]
    save_pipelines(variant["pipelines"])
    set_log(variant["log"])

    def finish(*_):
        common.write(args.report, Still.taken_ns)
        os._exit(0)  # Exits at once, since a thread may be waiting for an observation.

    signal.signal(signal.SIGTERM, finish)
    # The only change to the server: the class of the policy.
    policy_server.get_policy_class = lambda name: Still
    policy_server.serve(PolicyServerConfig(host=common.HOST, port=args.port, **variant["server"]))


def set_log(level: str) -> None:
    """Sets the log level. As shipped, importing LeRobot has configured logging: INFO to standard error, DEBUG to a file."""
    if level != "as shipped":
        logging.getLogger().setLevel(level)


class Client(RobotClient):
    """Client that records when a chunk is in its action queue, from which the control loop takes actions."""

    def __init__(self, settings: RobotClientConfig):
        super().__init__(settings)
        self.arrived = queue.SimpleQueue()

    def _aggregate_action_queues(self, incoming_actions, aggregate_fn=None):
        super()._aggregate_action_queues(incoming_actions, aggregate_fn)
        self.arrived.put((time.perf_counter_ns(), incoming_actions))


def drive(args) -> None:
    variant = VARIANTS[args.variant]
    set_log(variant["log"])
    common.wait_for(args.port)
    settings = RobotClientConfig(
        policy_type="act",  # A name that the server accepts.
        pretrained_name_or_path=POLICY,
        robot=ShowingConfig(pictures=args.pictures),
        actions_per_chunk=common.CHUNK,
        server_address=f"{common.HOST}:{args.port}",
    )
    client = Client(settings)
    if not client.start():
        raise ConnectionError(f"the server at {settings.server_address} refused the policy")
    threading.Thread(target=client.receive_actions, daemon=True).start()
    client.start_barrier.wait()
    samples, lost = [], 0
    for _ in range(args.warmup + args.times):
        lost += not client.must_go.is_set()
        begin = time.perf_counter_ns()
        client.control_loop_observation(common.INSTRUCTION)
        end, actions = client.arrived.get(timeout=10.0)
        samples.append(end - begin)
        common.check(torch.stack([action.get_action() for action in actions]).numpy())
        while client.actions_available():
            client.control_loop_action()
    shown = TimedObservation(time.time(), 0, client.robot.shown[0], True)
    server = asdict(PolicyServerConfig(**variant["server"]))
    common.write(
        args.report,
        {
            "round_trips_ns": samples,
            "request_bytes": len(pickle.dumps(shown)),
            "answer_bytes": len(pickle.dumps(actions)),
            "versions": {name: version(name) for name in ("lerobot", "grpcio", "protobuf", "torch", "numpy")},
            "settings": {
                "server": {name: server[name] for name in ("fps", "inference_latency", "obs_queue_timeout")},
                "client": {name: getattr(settings, name) for name in ("fps", "aggregate_fn_name", "actions_per_chunk")},
                "log": variant["log"],
                "pipelines": variant["pipelines"],
                "torch_threads": torch.get_num_threads(),
                "observations_without_must_go": lost,
                "policy_time": "clock around the body of predict_action_chunk",
                "until": "the chunk stands in RobotClient.action_queue; its loop of 1/fps is not waited for",
            },
        },
    )
    client.stop()


if __name__ == "__main__":
    arguments = common.arguments()
    {"serve": serve, "drive": drive}[arguments.side](arguments)
