#!/usr/bin/python3
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moves one guest and writes down how it ended: python3 move.py /var/lib/xenfold/moves/GUEST.json.

Carried to the hosts as it stands and run as a unit of its own, so that a move goes on, and is finished, without the controller. When xl
says that the guest is on the other host, its autostart link and configuration go at once: a reboot would start it a second time.
"""
from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main(path: str) -> int:
    journal = json.loads(Path(path).read_text(encoding="utf-8"))
    began = time.monotonic()
    with open(journal["log"], "ab") as log:
        try:
            done = subprocess.run(journal["command"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False)
            code = done.returncode
        except OSError as error:
            log.write(f"{error}\n".encode())
            code = 127
    if code == 0:
        for own in journal["forget"]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(own)
    write(path, {**journal, "phase": "ended", "code": code, "seconds": round(time.monotonic() - began, 1)})
    return code


def write(path: str, journal: dict[str, object]) -> None:
    """The old journal or the new one, never a part."""
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(journal, stream, indent=1, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
