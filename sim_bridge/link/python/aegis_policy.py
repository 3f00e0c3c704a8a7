"""A policy in a Python process: the interface `Policy` around any module, and the answers to a controller's questions. Pure except
for the policy that it asks. See docs/guide/python-policy.md."""

import hashlib
import math
import re
import traceback
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy

from aegis_schema import COMPONENTS, FEATURES, TEXT
from aegis_wire import WireError, decode, encode

CLIENTS = 64  # Controllers whose episodes are kept apart; the one that has been silent for longest gives way.
HORIZON, WIDTH, ACTIVATION, CAMERAS = 4096, 64, 65_536, 8  # The protocol's bounds.


@dataclass
class Observation:
    """What a policy sees: `values`, a map from the name of each feature that it reads to a float64 array of the announced shape;
    `pictures`, a map from the name of each camera to a uint8 array `[height, width, 3]`, row 0 at the top; the `instruction`; the
    index of the `task`; `step`, the control step; and `seconds` since the reset."""

    values: dict
    pictures: dict
    instruction: str
    task: int
    step: int
    seconds: float


class Policy:
    """The interface of a served policy. A subclass sets the attributes and has a method `infer`, and `reset` if it remembers."""

    model: str = ""  # SHA-256 of everything that decides its actions, 64 hexadecimal digits; `digest` computes it from files.
    horizon: int  # Actions of a chunk.
    width: int  # Values per action.
    names: list = []  # Names of the values, as the plant names its channels; none takes the plant's order on trust.
    activation: tuple = (0, 0)  # Tokens and values per token of the activation that `infer` returns; (0, 0) for none.
    features: list = []  # Names of the features that it reads.
    cameras: dict = {}  # Height and width of the pictures that it reads, by camera.
    # Whether an inference depends on earlier ones of the episode. A policy that does not remember is asked by several workers at once,
    # and experiments may share the common beginning of two arms.
    remembers: bool = True

    def reset(self, seed: int) -> None:
        """Begins an episode: forgets the last one. Noise has to be drawn from `seed` alone."""

    def infer(self, observation: Observation):
        """Returns the actions, `[horizon, width]`, or a tuple of the actions and the activation, `[width]` or `[tokens, width]`."""
        raise NotImplementedError


class PooledActivation:
    """Keeps the mean over all axes but the last of a PyTorch module's newest output, by a forward hook."""

    def __init__(self, module):
        self.value = None
        self.hook = module.register_forward_hook(self._keep)

    def _keep(self, _module, _inputs, output) -> None:
        output = output[0] if isinstance(output, tuple) else output
        values = output.detach().float().cpu().numpy()
        self.value = values.reshape(-1, values.shape[-1]).mean(axis=0)


def digest(*files) -> str:
    """Returns the SHA-256 of one file; for several, that of the output of `sha256sum` for them in this order, run in their folder: names
    count, and folders do not."""
    found = []
    for file in files:
        with open(file, "rb") as opened:
            found.append(hashlib.file_digest(opened, "sha256").hexdigest())
    lines = "".join(f"{one}  {Path(file).name}\n" for one, file in zip(found, files))
    return found[0] if len(found) == 1 else hashlib.sha256(lines.encode()).hexdigest()


def check(policy) -> None:
    """Raises TypeError for a policy that cannot be served; the message names the attribute."""
    name = type(policy).__name__

    def refuse(attribute, found, valid):
        raise TypeError(f"{name}.{attribute}: found {found!r:.200}; valid is {valid}")

    def is_whole(value, most, least=1):
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    if not isinstance(policy, Policy):
        raise TypeError(f"found {policy!r:.80}; valid is an object of a class that is a `Policy`")
    if type(policy).infer is Policy.infer or not callable(policy.infer):
        raise TypeError(f"{name} has no method `infer`, which returns the actions for an observation")
    if not isinstance(policy.model, str) or not re.fullmatch(r"[0-9a-f]{64}", policy.model):
        refuse("model", policy.model, "the SHA-256 of its weights, 64 hexadecimal digits in lower case, as `digest(FILE)` gives")
    for attribute, most in (("horizon", HORIZON), ("width", WIDTH)):
        found = getattr(policy, attribute, None)
        if not is_whole(found, most):
            refuse(attribute, found, f"a whole number from 1 to {most}")
    if policy.horizon * policy.width > HORIZON:
        refuse("horizon", policy.horizon, f"at most {HORIZON // policy.width}: a chunk has at most {HORIZON} values")
    texts = lambda found, most: (  # noqa: E731
        isinstance(found, list | tuple)
        and len(found) <= most
        and all(isinstance(one, str) and 0 < len(one.encode(errors="replace")) <= TEXT for one in found)
        and len(set(found)) == len(found)
    )
    if not texts(policy.names, WIDTH) or len(policy.names) not in (0, policy.width):
        refuse("names", policy.names, f"no names, or {policy.width} different ones, as the plant names its channels")
    if not texts(policy.features, FEATURES):
        refuse("features", policy.features, 'a list of different names, such as ["eef_position", "gripper_positions"]')
    pair = lambda found: isinstance(found, tuple | list) and len(found) == 2  # noqa: E731
    tokens, width = policy.activation if pair(policy.activation) else (-1, -1)
    if (tokens, width) != (0, 0) and not (is_whole(tokens, COMPONENTS) and is_whole(width, ACTIVATION // max(tokens, 1))):
        refuse("activation", policy.activation, "(tokens, values per token), or (0, 0) for a policy without one")
    sizes = policy.cameras.items() if isinstance(policy.cameras, dict) else [("", ())]
    for camera, size in sizes:
        if not isinstance(camera, str) or not 0 < len(camera.encode(errors="replace")) <= 128 or not pair(size) or not all(is_whole(one, 4096) for one in size):
            refuse("cameras", policy.cameras, 'a map such as {"agentview": (128, 128)}: height and width by camera')
    if len(sizes) > CAMERAS:
        refuse("cameras", policy.cameras, f"at most {CAMERAS}")
    if not isinstance(policy.remembers, bool):
        refuse("remembers", policy.remembers, "True or False")


@dataclass
class Client:
    """The policy of one controller, and where its episode is: number, seed, and number of inferences."""

    policy: Policy
    episode: tuple = (-1, -1)
    inferences: int = 0


@dataclass
class PolicyHost:
    """Answers of a served policy. `make` returns a policy; it is called for each controller, or once for all where the policy does not
    remember."""

    make: object
    first: Policy = None
    clients: OrderedDict = field(default_factory=OrderedDict)
    faults: list = field(default_factory=list)  # Tracebacks that nobody has been told of.

    def __post_init__(self):
        if not callable(self.make):
            raise TypeError(f"found {self.make!r:.80}; valid is a class that is a `Policy`, or a function that returns one")
        self.first = self.make()
        check(self.first)

    def answer(self, data: bytes) -> bytes:
        """Answers one question."""
        try:
            name, message = decode(data)
            if name == "Describe":
                return self._describe(message)
            if name != "Infer":
                return refused("malformed", f"{name} is no question to a policy")
            return self._infer(message)
        except WireError as error:
            return refused("version" if error.code == "version" else "malformed", str(error))
        except Refusal as refusal:
            return refused("policy", str(refusal))
        except Exception as error:  # A fault of the policy's own code must not end the server.
            self.faults.append(traceback.format_exc())
            return refused("policy", f"{type(self.first).__name__}: {type(error).__name__}: {error}")

    def _describe(self, message: dict) -> bytes:
        policy = self.first
        tokens, width = policy.activation
        cameras = [{"camera": name, "height": size[0], "width": size[1]} for name, size in policy.cameras.items()]
        return encode(
            "Described",
            {
                "request": message["request"],
                "model": policy.model,
                "horizon": policy.horizon,
                "width": policy.width,
                "names": list(policy.names),
                "activation_tokens": tokens,
                "activation_width": width,
                "features": list(policy.features),
                "cameras": cameras,
                "remembers": policy.remembers,
            },
        )

    def _infer(self, message: dict) -> bytes:
        client = self._client(message["client"])
        policy, episode = client.policy, (message["episode"], message["seed"])
        is_same = client.episode == episode
        expected = client.inferences if is_same else 0
        if policy.remembers and message["inference"] != expected:
            found = message["inference"]
            raise Refusal(f"inference: found {found} of an episode; valid is {expected}: this policy remembers each episode from its beginning")
        if not is_same:
            policy.reset(message["seed"])
        client.episode, client.inferences = episode, message["inference"] + 1
        actions, activation = self._returned(policy, policy.infer(observation(policy, message)))
        return encode(
            "Inferred",
            {
                "request": message["request"],
                "model": policy.model,
                "width": policy.width,
                "values": actions,
                "activation_width": policy.activation[1],
                "activation": activation,
            },
        )

    def _client(self, number: int) -> Client:
        number = number if self.first.remembers else 0
        if number not in self.clients:
            self.clients[number] = Client(self.make() if self.clients else self.first)
            if len(self.clients) > CLIENTS:
                self.clients.popitem(last=False)
        self.clients.move_to_end(number)
        return self.clients[number]

    def _returned(self, policy: Policy, found) -> tuple:
        name = type(policy).__name__
        if isinstance(found, tuple) and len(found) != 2:
            raise Refusal(f"{name}.infer: found a tuple of {len(found)}; valid are the actions, or (actions, activation)")
        actions, activation = found if isinstance(found, tuple) else (found, None)
        actions = array(f"{name}.infer: actions", actions, (policy.horizon, policy.width))
        if tuple(policy.activation) == (0, 0):
            if activation is not None:
                raise Refusal(f"{name}.infer: found an activation; valid is none, or `activation = (tokens, width)` of the class")
            return actions, []
        if activation is None:
            raise Refusal(f"{name}.infer: found no activation; valid is (actions, activation), or `activation = (0, 0)` of the class")
        tokens, width = policy.activation
        shape = (width,) if tokens == 1 and numpy.ndim(activation) == 1 else (tokens, width)
        return actions, array(f"{name}.infer: activation", activation, shape)


class Refusal(Exception):
    """A question is refused, or a policy has returned what it may not; says what was found and what is valid."""


def array(what: str, found, shape: tuple) -> list:
    """Returns numbers of this shape as a flat list of float32. Raises Refusal for another shape and for what is no number."""
    found = found.detach().float().cpu().numpy() if hasattr(found, "detach") else found
    try:
        # Complex numbers, texts and times would become other numbers, and a masked array would lose its mask.
        if found is None or isinstance(found, numpy.ma.MaskedArray) or numpy.asarray(found).dtype.kind not in "fiub":
            raise TypeError
        values = numpy.asarray(found, dtype=numpy.float32)
    except (TypeError, ValueError):
        raise Refusal(f"{what}: found {found!r:.80}; valid are numbers of shape {shape}") from None
    if values.shape != shape:
        raise Refusal(f"{what}: found shape {values.shape}; valid is {shape}")
    return values.ravel().tolist()


def observation(policy: Policy, message: dict) -> Observation:
    """Returns the observation of a question. Raises Refusal where a feature or picture that the policy reads is missing."""
    seen, values, place = message["observation"], {}, 0
    for feature in message["schema"]["features"]:
        if feature["kind"] == "tensor":
            size = math.prod(feature["shape"])
            part = seen["values"][place : place + size]
            if len(part) != size:
                raise Refusal(f"observation.values: found {len(seen['values'])}, fewer than the schema has")
            values[feature["name"]] = numpy.array(part, dtype=numpy.float64).reshape(feature["shape"])
            place += size
    if place != len(seen["values"]):
        raise Refusal(f"observation.values: found {len(seen['values'])}; valid are the {place} of the schema")
    pictures = {}
    for picture in message["pictures"]:
        name, shape = picture["camera"], (picture["height"], picture["width"], 3)
        if len(picture["rgb"]) != math.prod(shape):
            raise Refusal(f"picture of {name}: found {len(picture['rgb'])} bytes; valid is {shape}")
        pictures[name] = numpy.frombuffer(picture["rgb"], dtype=numpy.uint8).reshape(shape)
    for name in policy.features:
        if name not in values:
            raise Refusal(f"feature {name}: missing; found {', '.join(values) or 'none'}")
    for name, size in policy.cameras.items():
        found = pictures[name].shape[:2] if name in pictures else None
        if found != tuple(size):
            raise Refusal(f"picture of {name}: found {found or 'none'}; valid is height and width {tuple(size)}")
    return Observation(values, pictures, seen["instruction"], seen["task"], message["step"], seen["plant_time"])


def refused(code: str, reason: str) -> bytes:
    """Returns the answer that refuses a question."""
    return encode("Refused", {"code": code, "reason": reason[:1000]})
