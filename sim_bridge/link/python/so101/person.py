"""Plays the person at the robot in a trial on the simulated SO-101: starts each episode, sees whether the task is done, and says so.

    python person.py SIMULATOR_LOG aegis trial run trial.toml --out trial

SIMULATOR_LOG is what serve_so101.py prints, which is all that this person sees of the world. It does not know which arm drives.
"""

import subprocess
import sys
from pathlib import Path

DONE = "the task is done"


def main(world: Path, command: list) -> int:
    def seen() -> int:
        return world.read_text().count(DONE)

    before = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as trial:
        for line in trial.stderr:
            print(line, end="", flush=True)
            answer = None
            if "waiting for a start" in line:
                before, answer = seen(), ""
            elif "did it succeed?" in line:
                answer = "y" if seen() > before else "n"
            if answer is not None:
                trial.stdin.write(answer + "\n")
                trial.stdin.flush()
    return trial.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
