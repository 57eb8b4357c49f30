# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One host whose disks lose what was not flushed when its power is cut."""
from __future__ import annotations

import subprocess
import time
from pathlib import Path

from lab import faults, powercut
from lab.state import locked
from tests.lab.hands import Hands, Point, last

HOST = "xen01"
# How long the host looks for a marker before it is asked again, and how long a run may take until the marker is there.
LOOKS, PAUSE_SECONDS = 20, 0.05
MARKER_SECONDS = 900


class Host(Hands):
    """The host of a lab made with --log-writes."""

    def _seen(self, point: Point, process: subprocess.Popen[bytes], log: Path, then: str) -> None:
        """Return when the marker was seen, then at once; an error when the run ends before it. An installation takes its time."""
        script = f"for n in $(seq {LOOKS}); do {{ {point.marker}; }} > /dev/null 2>&1 && exit 0; sleep {PAUSE_SECONDS}; done; exit 1"
        end = time.monotonic() + MARKER_SECONDS
        ended = False
        while self.ask(HOST, script).returncode != 0:
            assert not ended, f"{point.role}: the run ended ({process.returncode}) and `{point.marker}` was not seen:\n{last(log)}"
            assert time.monotonic() < end, f"{point.role}: `{point.marker}` was not seen within {MARKER_SECONDS} s:\n{last(log)}"
            # One more look: what a run did last may have been what was looked for.
            ended = process.poll() is not None
        self.ask(HOST, f"sleep {point.delay_seconds:.2f}; {then}")

    def lose_power(self, point: Point, seed: int | None = None) -> None:
        """Start the run, pull the plug at the point, and boot from what was durable (with a seed: and some of the rest)."""
        with self._under_way(point) as (process, log):
            self._seen(point, process, log, "true")
            with locked(self.lab.name):
                powercut.lose_unflushed(self.lab, HOST, seed)
        self.drop_connections()
        self.command("power-on", HOST, timeout=faults.BOOT_SECONDS + 60)
