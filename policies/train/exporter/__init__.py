"""LeRobot checkpoints as ONNX files. `export_lerobot.py` is the command line, `docs/lerobot-export.md` the manual."""


class ExportError(Exception):
    """A checkpoint or an argument that is refused; the message says what was found and what is valid."""

    code = 2


class ParityError(ExportError):
    """A graph that does not say what the policy says."""

    code = 1
