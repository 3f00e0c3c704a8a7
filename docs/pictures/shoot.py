"""Opens a recording in the viewer without a display and takes its picture once it has come to rest.

usage: shoot.py RECORDING PICTURE
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from rerun.experimental import ViewerClient

# Longer than the viewer shows what it has to say of itself.
REST = 12.0
# One picture, drawn without a GPU on a busy machine.
SLOW = 30.0
PATIENCE = 300.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def main() -> None:
    recording, picture = map(Path, sys.argv[1:])
    port = free_port()
    rerun = Path(sys.executable).with_name("rerun")
    arguments = ["--bind", "127.0.0.1", "--port", str(port), "--headless", "--window-size", "1600x900"]
    log = picture.with_suffix(".log")
    with log.open("w") as said:
        # A group of its own, for the viewer is a child of what is started here.
        viewer = subprocess.Popen(
            [rerun, *arguments, recording], stdout=said, stderr=said, start_new_session=True
        )
    try:
        wait_for_rest(viewer, f"rerun+http://127.0.0.1:{port}/proxy", picture)
    except Exception as error:
        sys.exit(f"error: {error}\n{log.read_text()}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(viewer.pid, signal.SIGKILL)
        viewer.wait()


def wait_for_rest(viewer: subprocess.Popen, url: str, picture: Path) -> None:
    """Takes pictures until nothing has changed for a while; the last one stays."""
    begin = since = time.monotonic()
    last = None
    while time.monotonic() - begin < PATIENCE:
        if viewer.poll() is not None:
            raise RuntimeError(f"the viewer ended with {viewer.returncode}")
        now = shot(url, picture)
        if now != last:
            last, since = now, time.monotonic()
        elif now is not None and time.monotonic() - since > REST:
            return
    raise RuntimeError(f"the viewer did not come to rest within {PATIENCE:.0f} s")


def shot(url: str, picture: Path) -> bytes | None:
    """One picture; none while the viewer is coming up."""
    picture.unlink(missing_ok=True)
    asked = time.monotonic()
    try:
        ViewerClient.connect(url).save_screenshot(str(picture))
    except Exception:
        time.sleep(0.5)
        return None
    # The viewer writes it when it has drawn it; half a picture does not load.
    while time.monotonic() - asked < SLOW:
        time.sleep(0.2)
        if pixels := load(picture):
            return pixels
    return None


def load(picture: Path) -> bytes | None:
    try:
        with Image.open(picture) as image:
            return image.convert("RGB").tobytes()
    except (OSError, SyntaxError):
        return None


if __name__ == "__main__":
    main()
