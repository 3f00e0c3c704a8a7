"""Runs a command in a terminal of its own. What it writes is printed, with `<bell>` for the terminal's bell; a line on standard input
is typed as it is, without its end. `\\s` stands for a space."""

import os
import pty
import selectors
import sys


def main() -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(sys.argv[1], sys.argv[1:])
    selector = selectors.DefaultSelector()
    selector.register(terminal, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                line = sys.stdin.readline()
                if not line:
                    selector.unregister(sys.stdin)
                    continue
                os.write(terminal, line.rstrip("\n").replace("\\s", " ").encode())
                continue
            try:
                found = os.read(terminal, 4096)
            except OSError:  # The child has gone.
                found = b""
            if not found:
                _, status = os.waitpid(child, 0)
                sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
            sys.stdout.buffer.write(found.replace(b"\a", b"\n<bell>\n").replace(b"\r", b"\n"))
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
