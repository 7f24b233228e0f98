"""Run a program that dies with its parent: ``tether.py <parent's pid> <program> [argument ...]``.

The kernel's promise must be asked for in the child, after the fork, where a parent with
threads must not run Python. So this file is run as a script of its own, by an interpreter
that loads nothing else, and replaces itself by the program.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PARENT_GONE = 75


def main(arguments: list[str]) -> None:
    parent, program = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # A parent that died before the call above is never reported
        if os.getppid() != parent:
            os._exit(PARENT_GONE)
    os.execvp(program[0], program)  # noqa: S606 no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
