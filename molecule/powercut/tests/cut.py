# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One bare host whose disks lose what was not flushed when its power is cut, with the hands of the scenario of faults."""
from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "faults" / "tests"))
import scene
from scene import Point, Scene, last

from lab import faults, powercut, snapshots
from lab.console import tail
from lab.state import find_lab, locked

HOST = "xen01"
BARE = "bare"
# How long the host looks for a marker before it is asked again, and how long a run may take until the marker is there.
LOOKS, PAUSE_SECONDS = 200, 0.05
MARKER_SECONDS = 900


class Host(Scene):
    """The host of a lab made with --log-writes --snapshot bare. scene.py's names of lab, inventory and folder are this lab's."""

    def __init__(self, name: str, inventory: Path) -> None:
        scene.NAME, scene.INVENTORY, scene.FOLDER = name, inventory, scene.ROOT / "build" / name
        super().__init__()

    def _placed(self) -> dict[str, str]:
        """No guests: nothing is planned here."""
        return {}

    def bare(self) -> None:
        """Back to the host as it was booted first, whatever state it is in."""
        self.drop_connections()
        with locked(self.lab.name):
            snapshots.restore(self.lab, BARE)

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


def show_console(item: pytest.Item, report: pytest.TestReport) -> None:
    """What the console shows goes with a test that failed."""
    host = getattr(item, "funcargs", {}).get("bare")
    lab = find_lab(host.lab.name) if report.failed and host else None
    if lab:
        report.sections.append((f"console of {HOST}", tail(lab.serial_log(HOST), 30)))


def bare_host(host: Host) -> Iterator[Host]:
    host.bare()
    yield host
    host.drop_connections()
