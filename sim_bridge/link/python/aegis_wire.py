"""The wire format of docs/reference/protocol.md: an eight-byte header, then one MessagePack map, decoded by a schema.
Pure. Decoding reserves no memory by a length field: memory grows with the elements that actually arrive."""

import ctypes

import msgpack

from aegis_schema import CHANNELS, COMPONENTS, DTYPES, FEATURES, TEXT, VALUES
from aegis_schema import KINDS as KINDS_OF_FEATURES

VERSION = 3
MAGIC = b"AEGS"
HEADER = 8
MAX_MESSAGE = 16 * 1024 * 1024
SENTENCE = 4096
MODES = ("lock_step", "free_running")
WISHES = ("e_stop", "stop", "reset", "start")
CODES = ("malformed", "version", "held", "session", "episode", "sequence", "mode", "stopped", "policy", "plant")
ENCODINGS = ("rgb", "jpeg")
PHASES = ("idle", "held", "running", "stopped")
CALL_STATES = ("quiet", "called", "driving", "released")
STEERED = ("rate", "position", "discrete")


class WireError(ValueError):
    """The bytes are not a message. `code` is the plant's refusal code, `what` the check that failed."""

    def __init__(self, what: str, reason: str):
        super().__init__(reason)
        self.what, self.code = what, "version" if what == "version" else "malformed"


def integer(bits: int):
    def read(unpacker):
        value = unpacker.unpack()
        if type(value) is not int or not 0 <= value < 1 << bits:
            raise ValueError(f"found {value!r:.80}, expected an integer from 0 to 2^{bits} - 1")
        return value

    return read


def float64(unpacker):
    value = unpacker.unpack()
    if type(value) not in (float, int):
        raise ValueError(f"found {value!r:.80}, expected a number")
    return float(value)


def float32(unpacker):
    return ctypes.c_float(float64(unpacker)).value


def boolean(unpacker):
    value = unpacker.unpack()
    if type(value) is not bool:
        raise ValueError(f"found {value!r:.80}, expected true or false")
    return value


def text(most: int):
    def read(unpacker):
        value = unpacker.unpack()
        if type(value) is not str or len(value.encode()) > most:
            raise ValueError(f"found {value!r:.80}, expected text of at most {most} bytes")
        return value

    return read


def binary(unpacker):
    value = unpacker.unpack()
    if type(value) is not bytes:
        raise ValueError(f"found {value!r:.80}, expected bytes")
    return value


def one_of(names):
    def read(unpacker):
        value = unpacker.unpack()
        if value not in names:
            raise ValueError(f"found {value!r:.80}, expected one of {', '.join(names)}")
        return value

    return read


def listed(element, most: int, least: int = 0):
    def read(unpacker):
        length = unpacker.read_array_header()
        if not least <= length <= most:
            raise ValueError(f"a list of {length}, expected {'' if least else 'at most '}{most}")
        return [element(unpacker) for _ in range(length)]

    return read


def optional(element):
    def read(unpacker):
        return unpacker.unpack() if unpacker.is_nil_next() else element(unpacker)

    return read


class Reader(msgpack.Unpacker):
    """Unpacker of one message's body that can tell whether the next value is nil."""

    def is_nil_next(self) -> bool:
        return self.body[self.tell() : self.tell() + 1] == b"\xc0"


def mapped(fields: dict, may_lack=()):
    """A map with these fields, of which those in `may_lack` may be left out."""

    def read(unpacker):
        found = {}
        for _ in range(unpacker.read_map_header()):
            name = unpacker.unpack()
            if type(name) is not str or name not in fields:
                raise ValueError(f"unknown field {name!r:.80}, expected {', '.join(fields)}")
            if name in found:
                raise ValueError(f"field {name} comes twice")
            try:
                found[name] = fields[name](unpacker)
            except ValueError as error:
                raise ValueError(f"{name}: {str(error) or 'not MessagePack'}") from None
        for name in fields:
            if name not in found and name not in may_lack:
                raise ValueError(f"field {name} is missing")
        return found

    return read


def effect(unpacker):
    """What a disturbance does: a map with the fields of its kind."""
    found = ANY_EFFECT(unpacker)
    fields = EFFECTS[found["kind"]]
    if set(found) != {"kind", *fields}:
        raise ValueError(f"found the fields {', '.join(found)}, expected kind, {', '.join(fields)}")
    return found


U32, U64 = integer(32), integer(64)
# Fields of each kind of disturbance.
EFFECTS = {"push": ("force", "steps"), "slip": ("steps",), "displacement": ("shift",)}
ANY_EFFECT = mapped(
    {"kind": one_of(EFFECTS), "force": listed(float64, 3, 3), "steps": U32, "shift": listed(float64, 2, 2)},
    may_lack=("force", "steps", "shift"),
)
DISTURBANCE = mapped({"step": U32, "effect": effect})
LABEL = text(TEXT)
FEATURE = mapped(
    {
        "name": LABEL,
        "shape": listed(U32, 8),
        "dtype": one_of(DTYPES),
        "kind": one_of(KINDS_OF_FEATURES),
        "names": listed(LABEL, COMPONENTS),
        "semantics": LABEL,
    }
)
CHANNEL = mapped({"name": LABEL, "semantics": LABEL, "bounds": listed(float64, 2, 2), "still": optional(float64)})
ANNOUNCEMENT = mapped({"features": listed(FEATURE, FEATURES), "actions": listed(CHANNEL, CHANNELS)})
OBSERVATION = mapped(
    {"plant_time": float64, "task": U32, "instruction": text(SENTENCE), "values": listed(float64, VALUES)}
)
PICTURE = mapped({"camera": text(128), "width": U32, "height": U32, "rgb": binary})
STEP = {"session": U64, "episode": U64, "sequence": U32}
ACTION = listed(float32, CHANNELS)
STEERED_CHANNEL = mapped(
    {"name": LABEL, "kind": one_of(STEERED), "bounds": listed(float64, 2, 2), "within": float64}
)
# Kind, name and fields, in the order of docs/reference/protocol.md.
SCHEMAS = {
    1: ("Claim", {"controller": text(128), "nonce": U64, "mode": one_of(MODES)}),
    2: ("Reset", {"session": U64, "episode": U64, "task": U32, "initial_state": U32, "disturbance": DISTURBANCE}),
    3: ("Step", {**STEP, "action": ACTION}),
    4: ("FramesRequest", STEP),
    5: ("Release", {"session": U64}),
    6: ("Pulse", {"session": U64, "stamp_ns": U64}),
    7: ("Action", {**STEP, "observation": U32, "stamp_ns": U64, "action": ACTION}),
    8: ("Operate", {"wish": one_of(WISHES)}),
    9: (
        "Infer",
        {
            "client": U64,
            "episode": U64,
            "inference": U32,
            "request": U64,
            "step": U32,
            "seed": U64,
            "schema": ANNOUNCEMENT,
            "observation": OBSERVATION,
            "pictures": listed(PICTURE, 8),
        },
    ),
    10: ("Describe", {"request": U64}),
    20: ("Attach", {"watchdog": text(128)}),
    21: ("StopRequest", {"reason": text(512), "hold_ns": U64}),
    30: (
        "Teleop",
        {
            "operator": U64,
            "session": U64,
            "episode": U64,
            "call": U32,
            "sequence": U32,
            "stamp_ns": U64,
            "engaged": boolean,
            "action": ACTION,
        },
    ),
    65: (
        "Claimed",
        {
            "instance": U64,
            "session": U64,
            "action_width": U32,
            "tasks": U32,
            "period_ns": U64,
            "command_timeout_ns": U64,
            "controller_timeout_ns": U64,
        },
    ),
    66: (
        "Moved",
        {
            **STEP,
            "stamp_ns": U64,
            "success": boolean,
            "observation": OBSERVATION,
            "schema": optional(ANNOUNCEMENT),
            "state": listed(float64, 65_536),
        },
    ),
    67: ("Pictures", {**STEP, "pictures": listed(PICTURE, 8)}),
    68: ("Refused", {"code": one_of(CODES), "reason": text(SENTENCE)}),
    69: (
        "Status",
        {
            "instance": U64,
            "session": U64,
            "phase": one_of(PHASES),
            "episode": U64,
            "sequence": U32,
            "stamp_ns": U64,
            "dropped": U64,
            "refused": U64,
            "pulse_stamp_ns": U64,
            "pulse_received_ns": U64,
        },
    ),
    70: (
        "Inferred",
        {
            "request": U64,
            "model": text(128),
            "width": U32,
            "values": listed(float32, 4096),
            "activation_width": U32,
            "activation": listed(float32, VALUES),
        },
    ),
    71: (
        "Described",
        {
            "request": U64,
            "model": text(128),
            "horizon": U32,
            "width": U32,
            "names": listed(LABEL, CHANNELS),
            "activation_tokens": U32,
            "activation_width": U32,
            "features": listed(LABEL, FEATURES),
            "cameras": listed(mapped({"camera": text(128), "height": U32, "width": U32}), 8),
            "remembers": boolean,
        },
    ),
    72: (
        "CameraFrame",
        {
            "session": U64,
            "episode": U64,
            "camera": text(128),
            "sequence": U32,
            "stamp_ns": U64,
            "width": U32,
            "height": U32,
            "encoding": one_of(ENCODINGS),
            "data": binary,
        },
    ),
    84: ("Attached", {"instance": U64, "action_width": U32, "period_ns": U64, "command_timeout_ns": U64}),
    85: ("Executed", {**STEP, "stamp_ns": U64, "command": U32, "action": ACTION}),
    94: (
        "Call",
        {
            "session": U64,
            "episode": U64,
            "state": one_of(CALL_STATES),
            "call": U32,
            "operator": U64,
            "sequence": U32,
            "left_ns": U64,
            "period_ns": U64,
            "stream_timeout_ns": U64,
            "command": listed(float64, CHANNELS),
            "refused": U64,
            "away": listed(float64, CHANNELS),
            "channels": listed(STEERED_CHANNEL, CHANNELS),
        },
    ),
}
KINDS = {name: kind for kind, (name, _) in SCHEMAS.items()}
# Fields that a message lacks where they are not used.
MAY_LACK = ("disturbance",)


def encode(name: str, fields: dict) -> bytes:
    """Encodes a message. Raises KeyError for a missing field; numbers and arrays of numpy are encoded as Python's."""
    kind = KINDS[name]
    # Only actions and chunks are single precision, and their messages have no other floats.
    single = not {"action", "values"}.isdisjoint(SCHEMAS[kind][1])
    packer = msgpack.Packer(use_single_float=single, default=_plain)
    there = [field for field in SCHEMAS[kind][1] if field in fields or field not in MAY_LACK]
    body = packer.pack({field: fields[field] for field in there})
    return MAGIC + VERSION.to_bytes(2, "little") + bytes([kind, 0]) + body


def _plain(value):
    """Converts numpy's scalars and arrays, which both have `tolist`, to types that MessagePack supports."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"found {type(value).__name__} {value!r:.80}, expected a number, text, bytes, a list or a map")


def decode(data: bytes) -> tuple[str, dict]:
    """Decodes a message and checks every bound; returns its name and fields. Raises WireError for invalid bytes."""
    if len(data) > MAX_MESSAGE:
        raise WireError("too_large", f"message of {len(data)} bytes; the limit is {MAX_MESSAGE}")
    if len(data) < HEADER:
        raise WireError("truncated", f"message of {len(data)} bytes; a header alone has {HEADER}")
    if data[:4] != MAGIC:
        raise WireError("magic", f"not an AEGIS message: it begins with {data[:4].hex(' ')}, expected {MAGIC.hex(' ')}")
    version = int.from_bytes(data[4:6], "little")
    if version != VERSION:
        raise WireError("version", f"schema version {version}; this side speaks version {VERSION}")
    if data[7] != 0:
        raise WireError("reserved", f"header byte 7 is {data[7]}; it must be 0")
    if data[6] not in SCHEMAS:
        raise WireError("kind", f"unknown message kind {data[6]}")
    name, fields = SCHEMAS[data[6]]
    # Lists and maps are read only where the schema has them; elsewhere they are refused, whatever their length.
    unpacker = Reader(
        read_size=HEADER + len(data),
        max_buffer_size=MAX_MESSAGE,
        max_str_len=SENTENCE,
        max_array_len=0,
        max_map_len=0,
        max_ext_len=0,
    )
    unpacker.body = data[HEADER:]
    unpacker.feed(unpacker.body)
    try:
        found = mapped(fields, MAY_LACK)(unpacker)
    except msgpack.OutOfData:
        raise WireError("body", f"{name}: ends early") from None
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError("body", f"{name}: {str(error) or 'not MessagePack'}") from None
    rest = len(data) - HEADER - unpacker.tell()
    if rest:
        raise WireError("body", f"{name}: {rest} bytes follow the message")
    return name, found

