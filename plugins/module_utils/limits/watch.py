# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The service of a host that gives guests their limits again whenever a disk or network connects.

It sleeps until xenstore tells of a change below dom0's backends, and looks once a minute for what no event tells (a limit that was
removed by hand, an uplink that has another speed). Carried to the hosts as it stands; started as `python3 -m limits.watch FILE`.
"""
from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import host, kernel, plan

AFTER_SECONDS = (0.2, 1.0, 5.0)
"""When an event is looked at: at once, and again, as a thread of blkback begins only after its disk counts as connected."""
SAFETY_SECONDS = 60.0


class WatchEndedError(Exception):
    """xenstore tells nothing more, or what it is told of is to be followed by another program."""


def load(path: str) -> plan.Wanted:
    """The wanted limits. Raises ValueError when the file is not what this program can follow."""
    try:
        guests = json.loads(Path(path).read_text(encoding="utf-8"))["guests"]
        for parts in guests.values():
            for limits in parts["disks"].values():
                if not limits or not set(limits) <= set(kernel.DISK_KEYS) or not all(map(_counts, limits.values())):
                    raise ValueError(f"{limits!r} are no limits of a disk")
            for network in parts["networks"].values():
                numbers = {key: value for key, value in network.items() if key != "bridge"}
                known = isinstance(network["bridge"], str) and set(numbers) <= set(plan.NETWORK_KEYS)
                if not known or not all(map(_counts, numbers.values())):
                    raise ValueError(f"{network!r} is no network")
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: {error!r}; the next run of the role guests writes it anew") from error
    return dict(guests)


def _counts(value: Any) -> bool:
    return type(value) is int and value > 0


def stamps(path: str) -> list[tuple[str, int, int]]:
    """What tells whether the file of limits, or this program, has been written anew."""
    files = [Path(path), *sorted(Path(__file__).parent.glob("*.py"))]
    return [(str(file), status.st_ino, status.st_mtime_ns) for file in files if (status := file.stat())]


class Keeper:
    """Makes the host match the wanted limits, one look at a time, and says what it does; the same trouble is told once."""

    def __init__(self, machine: host.Host, wanted: plan.Wanted, say: Callable[[str], None]) -> None:
        self._machine = machine
        self._wanted = wanted
        self._say = say
        self._told: list[str] = []

    def look(self) -> None:
        try:
            found = plan.plan(self._wanted, self._machine.read(self._wanted))
            steps = [step for step in found.steps if step.deeds]
            failed = self._machine.carry_out(steps)
            for step in steps:
                if not any(line.startswith(step.line()) for line in failed):
                    self._say(step.line())
            trouble = [*found.problems, *found.notes, *failed]
        # A guest that has just gone makes xenstore's answers incomplete; the next look follows soon.
        except (host.HostError, OSError, ValueError) as error:
            trouble = [str(error)]
        for line in trouble:
            if line not in self._told:
                self._say(line)
        self._told = trouble


def watch(look: Callable[[], None], wait: Callable[[float], bool], clock: Callable[[], float] = time.monotonic) -> None:
    """Look now, after every event, and once a minute, for ever.

    wait: sleeps at most so many seconds and returns whether something happened; it ends the watch by an exception.
    """
    due = [clock()]
    while True:
        now = clock()
        if due[0] <= now:
            look()
            # What fell due while it looked is seen by that look only if it began later.
            due = [moment for moment in due if moment > now] or [clock() + SAFETY_SECONDS]
            continue
        if wait(due[0] - now):
            now = clock()
            # A look that is due already is not put off by further events.
            due = sorted({min(due[0], now + AFTER_SECONDS[0]), *(now + seconds for seconds in AFTER_SECONDS[1:])})


def run(argv: list[str], data: str | None) -> tuple[int, str, str]:
    """Run a command; one that is missing or hangs fails like any other. What is no text comes with marks in place of it."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(argv, input=data, capture_output=True, text=True, errors="replace", timeout=60, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, "", str(error)
    return done.returncode, done.stdout, done.stderr


def events(stream: int) -> Callable[[float], bool]:
    """A `wait` for watch(): whether xenstore-watch, which writes to `stream`, told of something. Raises WatchEndedError at its end."""

    def wait(seconds: float) -> bool:
        if not select.select([stream], [], [], max(0.0, seconds))[0]:
            return False
        if not os.read(stream, 1 << 20):
            raise WatchEndedError("xenstore-watch ended")
        return True

    return wait


def main(arguments: list[str]) -> None:
    def say(line: str) -> None:
        print(line, flush=True)

    try:
        begun = stamps(arguments[0])
        keeper = Keeper(host.Host(run), load(arguments[0]), say)

        def look() -> None:
            # A run of the role that was cut off has written them and started nothing.
            if stamps(arguments[0]) != begun:
                raise WatchEndedError("the limits or the program were written anew; systemd starts it with them")
            keeper.look()

        with subprocess.Popen(["xenstore-watch", host.BACKENDS], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as watcher:
            assert watcher.stdout is not None
            try:
                watch(look, events(watcher.stdout.fileno()))
            finally:
                watcher.kill()
    except (ValueError, OSError, WatchEndedError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
