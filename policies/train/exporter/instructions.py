"""The tokenizer of a policy as a file that a host reads: `tokenizer.json` without padding and truncation, and the
fields of the card that say how an instruction becomes tokens.
"""

from dataclasses import dataclass
from pathlib import Path

from onnx_file import sha256
from tokenizers import Tokenizer

from . import ExportError, ParityError
from .checkpoint import PREPROCESSOR

TEMPLATE = "{instruction}\n"


@dataclass
class Tokens:
    """A written tokenizer: `path` of the file, `fields` of the card's input."""

    path: Path
    fields: dict


def write(checkpoint, path, tasks):
    """Writes the tokenizer of the checkpoint's pre-processor and returns it. `tasks` are instructions and the tokens
    that LeRobot makes of them. Raises ParityError where the file gives others.
    """
    step = checkpoint.tokenizer_step
    backend = getattr(step.input_tokenizer, "backend_tokenizer", None)
    if backend is None:
        found = type(step.input_tokenizer).__name__
        where = checkpoint.directory / PREPROCESSOR
        raise ExportError(f"{where}: tokenizer: found {found}; valid is one with a tokenizer.json, or give one --task")
    if step.padding_side != "right":
        where = checkpoint.directory / PREPROCESSOR
        raise ExportError(f"{where}: padding_side: found {step.padding_side!r}; valid is 'right'")
    made = Tokenizer.from_str(backend.to_str())
    made.no_padding()
    made.no_truncation()
    made.save(str(path))
    for task, wanted in tasks:
        found = Tokenizer.from_file(str(path)).encode(TEMPLATE.replace("{instruction}", task)).ids
        if found[: step.max_length] != wanted:
            raise ParityError(f"{path.name}: {task!r}: found tokens {found}; LeRobot has {wanted}")
    pad = step.input_tokenizer.pad_token_id
    return Tokens(path, {"tokenizer": path.name, "sha256": sha256(path), "template": TEMPLATE, "pad": pad})
