"""Reads what `aegis run` records, without AEGIS: the frames of run.aegis and observations.aegis, and the rows of a
run's episodes as docs/reference/dataset.md defines them. For checks of what `aegis export` writes of the same files."""

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

MAGIC = {"run.aegis": b"AEGSRUN4", "observations.aegis": b"AEGSOBS1"}
SOURCES = {"weak": 0, "strong": 1, "operator": 2, "holding": 3}
# Bit of the diagnostic "a start was refused" in a control period's record.
START_REFUSED = 1 << 18


class RecordError(Exception):
    """A file that is none of a run, or that is damaged."""


def unpack(data: bytes):
    """Returns the value of a MessagePack document; text as str, binary as bytes."""
    value, end = _value(memoryview(data), 0)
    if end != len(data):
        raise RecordError(f"{len(data) - end} bytes follow a value")
    return value


# Numbers by their first byte.
_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
# Byte strings, texts, lists and maps with the size in a number behind the first byte.
_SIZED = {
    0xC4: (">B", bytes), 0xC5: (">H", bytes), 0xC6: (">I", bytes), 0xD9: (">B", str), 0xDA: (">H", str),
    0xDB: (">I", str), 0xDC: (">H", list), 0xDD: (">I", list), 0xDE: (">H", dict), 0xDF: (">I", dict),
}  # fmt: skip


def _value(data: memoryview, at: int):
    first, at = data[at], at + 1
    if first < 0x80:
        return first, at
    if first >= 0xE0:
        return first - 0x100, at
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if first in _NUMBERS:
        (number,) = struct.unpack_from(_NUMBERS[first], data, at)
        return number, at + struct.calcsize(_NUMBERS[first])
    if first in _SIZED:
        form, kind = _SIZED[first]
        (size,) = struct.unpack_from(form, data, at)
        return _sized(data, at + struct.calcsize(form), size, kind)
    if first < 0x90:
        return _sized(data, at, first & 0x0F, dict)
    if first < 0xA0:
        return _sized(data, at, first & 0x0F, list)
    if first < 0xC0:
        return _sized(data, at, first & 0x1F, str)
    raise RecordError(f"an unknown first byte {first:#x}")


def _sized(data: memoryview, at: int, size: int, kind: type):
    if kind in (bytes, str):
        found = bytes(data[at : at + size])
        return (found if kind is bytes else found.decode()), at + size
    items = []
    for _ in range(size * (2 if kind is dict else 1)):
        item, at = _value(data, at)
        items.append(item)
    return (dict(zip(items[::2], items[1::2])) if kind is dict else items), at


def frames(path: Path):
    """Yields the values of a file's frames, up to its end or the first incomplete or damaged one. Each frame is a
    length, a CRC-32 of the previous frame's checksum, the length and the bytes, and the bytes."""
    with path.open("rb") as file:
        if file.read(8) != MAGIC[path.name]:
            raise RecordError(f"{path}: it does not begin as {MAGIC[path.name].decode()}")
        before = 0
        while len(head := file.read(8)) == 8:
            length, expected = struct.unpack("<II", head)
            data = file.read(length)
            covered = struct.pack("<I", before) + head[:4] + data
            if length == 0 or len(data) < length or zlib.crc32(covered) != expected:
                return
            before = expected
            yield unpack(data)


@dataclass
class Row:
    """One control period of an episode in which a command was sent."""

    values: list[float]
    # The newest frame of each camera that is no younger than the observation, as a file of PNG or JPEG.
    pictures: dict[str, bytes]
    action: list[float]
    source: int
    risk: float
    intervention: bool
    time: float


@dataclass
class RunEpisode:
    """One episode of a run. `features` are [name, shape, dtype, kind, names, semantics] each, in the plant's order."""

    number: int
    task: str
    features: list
    actions: list
    rows: list[Row] = field(default_factory=list)
    success: bool = False


def _seconds(duration: list[int]) -> float:
    return duration[0] + duration[1] / 1e9


def read_run(folder: Path) -> tuple[float, list[RunEpisode]]:
    """Returns a run's control rate and its episodes with their rows. Rows without a recorded observation are left out,
    as are episodes without rows."""
    begun, observations, pictures = {}, {}, {}
    for entry in frames(folder / "observations.aegis"):
        ((kind, values),) = entry.items()
        if kind == "episode":
            number, _, instruction, features, actions = values
            begun[number] = (instruction, features, actions)
        elif kind == "observation":
            _, number, sequence, stamp, _, found = values
            observations[number, sequence] = (stamp, found)
        elif kind == "frame":
            _, number, camera, sequence, stamp, _, data = values
            pictures.setdefault((number, camera), []).append((stamp, sequence, data))
    for found in pictures.values():
        found.sort(key=lambda one: one[:2])
    record = frames(folder / "run.aegis")
    rate = next(record)["recipe"]["settings"]["rate_hz"]
    episodes, episode, newest, called, risk, began, on = [], None, (0, 0), False, float("nan"), 0.0, False
    for inputs, output, command, *_ in record:
        now, stamp, wishes = _seconds(inputs[0]), inputs[2], inputs[6]
        mode, send, decision, notices = output[0], output[2], output[6], output[9]
        if stamp is not None and stamp[6] is None:
            newest = max(newest, (stamp[0], stamp[1]))
        start, e_stop, taken = wishes[3], wishes[0], inputs[8]
        if start is not None and taken is not None and not e_stop and not notices & START_REFUSED:
            instruction, features, actions = begun.get(start, ("", [], []))
            episode = RunEpisode(start, instruction, features, actions)
            episodes.append(episode)
            called, risk, began, on = False, float("nan"), now, True
        if decision is not None:
            risk = decision[2]
        if mode in ("weak", "strong"):
            called = mode == "strong"
        elif mode == "holding" and decision is not None:
            called = decision[0] == "strong"
        if mode not in SOURCES:
            if on and mode == "idle" and stamp is not None and stamp[5]:
                episode.success = True
            on = False
            continue
        if not send or newest not in observations or newest[0] != episode.number:
            continue
        taken_at, values = observations[newest]
        shown = {}
        for (number, camera), found in pictures.items():
            if number == episode.number:
                earlier = [one for one in found if one[0] <= taken_at]
                shown[camera] = (earlier[-1] if earlier else found[0])[2]
        # Where a person is the backup, they drive in the strong policy's place.
        by_hand = mode == "strong" and len(output) > 10 and output[10] is not None
        source = SOURCES["operator" if by_hand else mode]
        episode.rows.append(Row(values, shown, command, source, risk, called, now - began))
    return rate, [episode for episode in episodes if episode.rows]
