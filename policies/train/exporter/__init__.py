"""Exports LeRobot checkpoints as ONNX files. `export_lerobot.py` is the command line, `docs/guide/lerobot-export.md` the manual."""


class ExportError(Exception):
    """Raised for a checkpoint or an argument that is refused; the message names what was found and what is valid."""

    code = 2


class ParityError(ExportError):
    """Raised for a graph whose outputs differ from the policy's."""

    code = 1
