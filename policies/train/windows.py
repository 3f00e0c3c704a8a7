"""Training windows from demonstrations: the observation at a control step, and the chunk of actions from that step on.
Only windows whose actions were all sent undisturbed are used. A window past its episode's end repeats the last action."""

import numpy as np
import torch
from demonstrations import LAYOUT as LOWDIM
from demonstrations import DataError
from networks import HORIZON
from safetensors import safe_open
from safetensors.numpy import load_file

# The layout of `policies/src/encode.rs` that equals LOWDIM without the objects.
PROPRIO = "libero-proprio-v1"
ROBOT, TASKS = slice(0, 18), slice(78, 88)
# Largest random shift of a training picture, in pixels along each axis.
SHIFT = 4


class Windows:
    """Windows without pictures: `observations` float32[n, features] and `chunks` float32[n, 10, 7]."""

    cameras = {}

    def __init__(self, observations, chunks):
        self.observations, self.chunks = observations, chunks

    def __len__(self):
        return len(self.observations)

    def inputs(self, batch, generator):
        """Returns the policy's inputs for these windows."""
        return (self.observations[batch],)


class Looks(Windows):
    """Windows with `pictures`, uint8[n, size, size, 3] by camera."""

    def __init__(self, observations, chunks, pictures):
        super().__init__(observations, chunks)
        self.cameras = pictures
        self.size = next(iter(pictures.values())).shape[1]

    def inputs(self, batch, generator):
        """Returns the policy's inputs, with each picture shifted by up to SHIFT pixels and its border repeated (Yarats et
        al., *Image Augmentation Is All You Need*, ICLR 2021). Without this, the encoder overfits to the training pictures."""
        moved = [shifted(pictures[batch], generator) for pictures in self.cameras.values()]
        return (self.observations[batch], *moved)


def shifted(pictures, generator):
    height, width = pictures.shape[1:3]
    moves = torch.randint(-SHIFT, SHIFT + 1, (len(pictures), 2), generator=generator)
    rows = (torch.arange(height) + moves[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width) + moves[:, 1:]).clamp(0, width - 1)
    return pictures[torch.arange(len(pictures))[:, None, None], rows[:, :, None], columns[:, None, :]]


def window(start, last):
    """Returns the rows of the chunk that begins at row `start`, in an episode that ends with row `last`."""
    return np.minimum(np.arange(start, start + HORIZON), last)


def load(paths, limit, interventions=()):
    """Returns all windows of these files. `limit` is the number of demonstrations to keep per file, the first ones of each
    task in equal numbers; None keeps all. Of the files `interventions`, all are kept; an intervention ends where control was
    handed back, so a window past its end is left out.
    """
    observations, chunks = [], []
    for path in [*paths, *interventions]:
        data = load_file(path)
        episodes = np.unique(data["episode"])
        if limit is not None and path in paths:
            task_of = {e: int(data["task"][np.argmax(data["episode"] == e)]) for e in episodes}
            tasks = sorted(set(task_of.values()))
            kept = [[e for e in episodes if task_of[e] == t][: -(-limit // len(tasks))] for t in tasks]
            episodes = [e for task in kept for e in task]
        for episode in episodes:
            rows = np.flatnonzero(data["episode"] == episode)
            clean, action = data["clean"][rows], data["action"][rows]
            for start in range(len(rows)):
                chunk = window(start, len(rows) - 1)
                goes_past = path in interventions and start + HORIZON > len(rows)
                if clean[chunk].all() and not goes_past:
                    observations.append(data["observation"][rows[start]])
                    chunks.append(action[chunk])
    return Windows(torch.from_numpy(np.stack(observations)), torch.from_numpy(np.stack(chunks)))


def load_looks(path):
    """Returns the windows that begin at control steps with pictures. The observation is the robot's state and the task."""
    with safe_open(path, framework="np") as file:
        names = sorted(name for name in file.keys() if name.startswith("frames."))
        if not names:
            raise DataError(f"{path}: frames: is missing; `aegis demonstrate --frames-every N` writes it")
        read = {name: file.get_tensor(name) for name in ("observation", "action", "clean", "episode", "frame_row")}
        pictures = {name.removeprefix("frames."): torch.from_numpy(file.get_tensor(name)) for name in names}
    kept, chunks = [], []
    for index, row in enumerate(read["frame_row"]):
        last = np.searchsorted(read["episode"], read["episode"][row], side="right") - 1
        chunk = window(row, last)
        if read["clean"][chunk].all():
            kept.append(index)
            chunks.append(read["action"][chunk])
    vector = read["observation"][read["frame_row"][kept]]
    vector = np.concatenate([vector[:, ROBOT], vector[:, TASKS]], axis=1)
    pictures = {camera: taken[kept] for camera, taken in pictures.items()}
    return Looks(torch.from_numpy(vector), torch.from_numpy(np.stack(chunks)), pictures)
