# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs on a host: writes numbered blocks to a device and makes each of them durable, or reads them back.

    writer.py write DEVICE DONE     until SIGTERM; the number of durable blocks stands in the file DONE
    writer.py check DEVICE COUNT    prints `ok COUNT`, or ends with 1 and names the first block that is wrong
"""
from __future__ import annotations

import hashlib
import os
import signal
import sys
import time

SIZE = 32768
PAUSE_SECONDS = 0.1


def block(number: int) -> bytes:
    """The content of a block, known from its number."""
    return hashlib.sha256(str(number).encode()).digest() * (SIZE // 32)


def write(device: str, done: str) -> None:
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    handle = os.open(device, os.O_WRONLY)
    room = os.lseek(handle, 0, os.SEEK_END) // SIZE
    number = 0
    while not ended:
        if number == room:
            sys.exit(f"{device} is full after {number} blocks: a larger volume is needed")
        os.pwrite(handle, block(number), number * SIZE)
        os.fsync(handle)
        number += 1
        with open(f"{done}.new", "w", encoding="ascii") as stream:
            stream.write(f"{number}\n")
        os.replace(f"{done}.new", done)
        time.sleep(PAUSE_SECONDS)


def check(device: str, count: int) -> None:
    # What lies in memory proves nothing of the disks.
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as stream:
        stream.write("3\n")
    with open(device, "rb") as stream:
        for number in range(count):
            if stream.read(SIZE) != block(number):
                sys.exit(f"{device}: block {number} of {count} is not what was written")
    print(f"ok {count}")


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], sys.argv[3])
    else:
        check(sys.argv[2], int(sys.argv[3]))
