"""Errors that a person can mend, and how a command ends on one."""

import errno
import os
import sys
from collections.abc import Callable


class QvpipeError(Exception):
    """Something a person can mend. The message is one sentence that says what to do."""


def run(command: Callable[[], int | None]) -> None:
    """Run a command and leave the process: a `QvpipeError` is one line on stderr and exit code 1.

    Args:
        command: The command; what it returns is the exit code, None meaning 0.
    """
    try:
        code = command()
        sys.stdout.flush()
        sys.exit(code)
    except QvpipeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        if not _unread():
            raise
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(
            "error: the disk is full; make room, for instance with `dvc gc --workspace`, and run "
            "the same command again: what was finished is kept",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped; what was finished is kept, and the same command goes on", file=sys.stderr)
        sys.exit(130)


def _unread() -> bool:
    """Return whether nobody reads what is printed any longer, as after `| head`."""
    try:
        print(flush=True)
    except BrokenPipeError:
        # Python would flush once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def one_line(error: BaseException) -> str:
    """Return an error's message as a single line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
