# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Progress on the terminal, and programs that are run to their end within a bound."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError

_started = time.monotonic()
# Control sequences of ECMA-48, 5.4: CSI, parameters, intermediate bytes, a final byte.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def say(message: str) -> None:
    """One line of progress with the seconds since the program began."""
    print(f"[{time.monotonic() - _started:5.0f} s] {message}", file=sys.stderr, flush=True)


def tail(path: Path, lines: int = 30) -> str:
    """The last lines of a text file that may hold any bytes; empty when it does not exist."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 200 * lines - 4096))
            data = stream.read()
    except FileNotFoundError:
        return ""
    return "\n".join(plain_text(data).splitlines()[-lines:])


def plain_text(data: bytes) -> str:
    """What a serial console sent, without colours and carriage returns."""
    return _ESCAPES.sub("", data.decode("utf-8", "replace")).replace("\r", "")


def run(command: Sequence[str | Path], timeout: float, cwd: Path | None = None, log: Path | None = None) -> str:
    """Run a program to its end and return what it printed; an error names the command and shows its last lines.

    With `log` the output goes to that file as well (and is returned from there).
    """
    words = [str(word) for word in command]
    environment = {**os.environ, "LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"}
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise LabError(f"{words[0]}: program not found") from None
    except subprocess.TimeoutExpired as error:
        output = (error.output or b"").decode("utf-8", "replace")
        raise LabError(f"{words[0]} did not end within {timeout:.0f} s:\n{_last(output)}") from None
    output = done.stdout.decode("utf-8", "replace")
    if log is not None:
        log.write_text(output, encoding="utf-8")
    if done.returncode != 0:
        raise LabError(f"{' '.join(words[:4])} ... ended with {done.returncode}:\n{_last(output)}")
    return output


def _last(text: str, lines: int = 25) -> str:
    return "\n".join(text.splitlines()[-lines:])
