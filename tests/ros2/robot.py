"""A robot as a node of ROS 2: simulated joints behind a controller, by `zenoh-ros2-sdk`, a client that others wrote. It says on
standard output, as lines of JSON, what it receives and where its joints stand; lines on standard input are its faults.

    python robot.py --port 7447 --kind trajectory
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from rosbags.typesys import Stores, get_typestore
from zenoh_ros2_sdk import ROS2Publisher, ROS2ServiceServer, ROS2Subscriber, ZenohSession, get_registry

COMMANDS = {"trajectory": "trajectory_msgs/msg/JointTrajectory", "velocity": "std_msgs/msg/Float64MultiArray"}
STATES = "sensor_msgs/msg/JointState"
IMAGE = "sensor_msgs/msg/CompressedImage"
OTHERS = ("std_msgs/msg/Bool",)
PERIOD = 0.01
HOUR = 3600 * 10**9
# The order of the controller, which is not that of the messages.
JOINTS = ["a", "b", "c"]


def definitions(folder):
    """Writes the definitions of Jazzy's messages as files, as the client reads them."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in (STATES, IMAGE, *COMMANDS.values(), *OTHERS):
        first, *rest = store.generate_msgdef(name, ros_version=2)[0].split("=" * 80 + "\n")
        for text in (f"MSG: {name}\n{first}", *rest):
            head, body = text.split("\n", 1)
            package, kind = head.removeprefix("MSG: ").replace("/msg/", "/").split("/")
            place = Path(folder) / package / "msg" / f"{kind}.msg"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(body)


class Robot:
    def __init__(self, arguments):
        self.port, self.kind, self.topic = arguments.port, arguments.kind, arguments.topic
        self.lock = threading.Lock()
        self.positions = {"a": 0.1, "b": 0.0, "c": -0.1}
        self.velocities = dict.fromkeys(JOINTS, 0.0)
        # Where a trajectory began, where it ends, and when: by the newest message.
        self.path = None
        self.faults = set()
        self.stamp = None
        self.more, self.other = [], None
        self.session = ZenohSession.get_instance("127.0.0.1", self.port)
        self.folder = tempfile.TemporaryDirectory()
        definitions(self.folder.name)
        get_registry(self.folder.name)
        kind = arguments.states_type
        self.states = self.publisher("/joint_states", kind, "robot")
        if self.kind != "none":
            where = dict(node_name="controller", router_ip="127.0.0.1", router_port=self.port)
            ROS2Subscriber(self.topic, COMMANDS[self.kind], self.command, **where)
        self.images = self.publisher("/front/compressed", IMAGE, "camera") if arguments.camera else None
        self.done = self.publisher("/done", OTHERS[0], "judge") if arguments.services else None
        if arguments.services:
            self.server = ROS2ServiceServer(
                "/prepare",
                "std_srvs/srv/Trigger",
                self.prepare,
                request_definition="uint8 structure_needs_at_least_one_member",
                response_definition="bool success\nstring message",
                node_name="stage",
                router_port=self.port,
            )

    def publisher(self, topic, kind, node):
        return ROS2Publisher(topic, kind, node_name=node, router_ip="127.0.0.1", router_port=self.port)

    def say(self, what, **fields):
        with self.lock:
            print(json.dumps({"what": what, **fields}), flush=True)

    def prepare(self, _request):
        self.say("prepare")
        answer = self.session.store.types[self.session._registered_types["std_srvs/srv/Trigger_Response"]]
        return answer(success="unprepared" not in self.faults, message="the drawer is stuck")

    def command(self, message):
        if self.kind == "trajectory":
            (point,) = message.points
            reach = point.time_from_start.sec + point.time_from_start.nanosec / 1e9
            targets = dict(zip(message.joint_names, map(float, point.positions), strict=True))
            self.path = (dict(self.positions), targets, time.monotonic(), reach)
            self.say("command", joints=list(message.joint_names), values=list(targets.values()), reach=reach)
        else:
            self.velocities = dict(zip(JOINTS, map(float, message.data), strict=True))
            self.say("command", values=list(self.velocities.values()))

    def move(self):
        if "runaway" in self.faults:
            self.positions["a"] += 0.5 * PERIOD
        elif self.path:
            begin, targets, since, reach = self.path
            share = min(1.0, (time.monotonic() - since) / max(reach, 1e-6))
            self.positions.update({name: begin[name] + share * (end - begin[name]) for name, end in targets.items()})
        else:
            for name, velocity in self.velocities.items():
                self.positions[name] += velocity * PERIOD

    def publish(self, publisher):
        types = self.session.store.types
        # The first joint is not among those that are read, and the others are in another order than the controller's.
        names = ["gripper", "c", "a", "b"]
        if "permuted" in self.faults:
            names = ["b", "a", "gripper", "c"]
        if "missing" in self.faults:
            names.remove("b")
        values = [self.positions.get(name, 0.04) for name in names]
        velocities = [] if "still" in self.faults else [self.velocities.get(name, 0.0) for name in names]
        if "glitch" in self.faults:
            values[names.index("a")] = 50.0
        if "nan" in self.faults:
            values[names.index("b")] = float("nan")
        if self.stamp is None or "frozen" not in self.faults:
            self.stamp = time.time_ns() - (HOUR if "back" in self.faults else 0)
        # A single message whose stamp is wrong.
        made = self.stamp + (HOUR if "ahead" in self.faults else 0)
        self.faults.discard("ahead")
        stamp = types["builtin_interfaces/msg/Time"](sec=made // 10**9, nanosec=made % 10**9)
        header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="base_link")
        lists = {"position": values, "velocity": velocities, "effort": []}
        publisher.publish(header=header, name=names, **{key: np.array(value, np.float64) for key, value in lists.items()})

    def picture(self, format, path, ahead=0):
        types = self.session.store.types
        now = time.time_ns() + HOUR * int(ahead)
        stamp = types["builtin_interfaces/msg/Time"](sec=now // 10**9, nanosec=now % 10**9)
        header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="front")
        self.images.publish(header=header, format=format, data=np.fromfile(path, np.uint8))

    def run(self):
        due, count = time.monotonic(), 0
        while True:
            self.move()
            if "lost" not in self.faults and self.states.msg_type == STATES:
                for publisher in (self.states, *self.more):
                    self.publish(publisher)
            if count % 10 == 0:
                self.say("state", positions=[self.positions[name] for name in JOINTS], velocities=list(self.velocities.values()))
            due, count = due + PERIOD, count + 1
            time.sleep(max(0.0, due - time.monotonic()))

    def obey(self, line):
        """Executes a line of standard input, and says so."""
        word, *rest = line.split()
        if word == "second":
            self.more.append(self.publisher("/joint_states", STATES, "second"))
        elif word == "panel":
            self.other = self.publisher(self.topic, COMMANDS[self.kind], "panel")
        elif word == "picture":
            self.picture(*rest)
        elif word == "done":
            self.done.publish(data=True)
        elif word == "end":
            self.faults.discard(rest[0])
            for publisher in self.more:
                publisher.close()
            self.more.clear()
            if self.other:
                self.other.close()
        else:
            self.faults.add(word)
        self.say("obeyed", line=line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--kind", choices=[*COMMANDS, "none"], default="trajectory")
    parser.add_argument("--topic", default="/arm/joint_trajectory")
    parser.add_argument("--states-type", default=STATES)
    parser.add_argument("--camera", action="store_true")
    parser.add_argument("--services", action="store_true")
    robot = Robot(parser.parse_args())
    threading.Thread(target=robot.run, daemon=True).start()
    robot.say("ready")
    for line in sys.stdin:
        robot.obey(line.strip())
