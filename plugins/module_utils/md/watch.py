# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When arrays are scrubbed, and that the monitor knows whom to tell: files and units of Debian's mdadm; pure but for unit_states()."""
from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from ansible_collections.xenfold.consolidation.plugins.module_utils import systemd
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, lost
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

TIMERS = ("mdcheck_start.timer", "mdcheck_continue.timer")
MONITOR = "mdmonitor.service"
DEFAULTS = "/etc/default/mdadm"
UNITS = "/etc/systemd/system"
_HEAD = "# Written by xenfold.consolidation, role storage.\n"
# As the package makes it when nobody answers its questions.
_DEFAULTS = 'AUTOCHECK=true\nAUTOSCAN=true\nSTART_DAEMON=true\nDAEMON_OPTIONS="--syslog"\nVERBOSE=false\n'
_DAYS, _HOURS = 28, 6


def scrub_time(host: str, given: Mapping[str, int | None]) -> tuple[int, int]:
    """Day of the month (1 to 28) and hour (0 to 5) from the host's name, so that few hosts of an estate scrub at once; `given` wins."""
    number = int.from_bytes(hashlib.sha256(host.encode()).digest()[:8], "big")
    day, hour = given.get("day"), given.get("hour")
    return (number % _DAYS + 1 if day is None else day, number // _DAYS % _HOURS if hour is None else hour)


def drop_in(timer: str) -> str:
    """The file that changes a timer."""
    return f"{UNITS}/{timer}.d/xenfold.conf"


def scrub_files(host: str, given: Mapping[str, int | None], defaults: str | None) -> list[WantedFile]:
    """Drop-ins of mdadm's two timers: the monthly start, and the nightly going on of a check that took longer.

    defaults: text of /etc/default/mdadm, None before the package is there; the cron job of Debian 12, which would check all hosts on the
    first Sunday, heeds AUTOCHECK there.
    """
    day, hour = scrub_time(host, given)
    times = (f"*-*-{day:02} {hour:02}:00:00", f"*-*-* {hour:02}:05:00")
    files = [WantedFile(drop_in(timer), f"{_HEAD}[Timer]\nOnCalendar=\nOnCalendar={time}\n")
             for timer, time in zip(TIMERS, times, strict=True)]
    if defaults is None:
        return files
    return [*files, WantedFile(DEFAULTS, re.sub(r"(?m)^AUTOCHECK=.*$", "AUTOCHECK=false", _DEFAULTS if lost(defaults) else defaults))]


def unit_states(runner: Runner) -> dict[str, dict[str, str]]:
    """Unit -> its properties, of the timers and the monitor; empty on a host without systemd."""
    if not runner.tool("systemctl"):
        return {}
    names = "Id,ActiveState,UnitFileState,NeedDaemonReload,LoadState,ExecMainStartTimestamp"
    found = systemd.show(runner, names, *TIMERS, MONITOR, options=["--timestamp=unix"])
    return {unit["Id"]: unit for unit in found if "Id" in unit}


def timer_commands(units: Mapping[str, Mapping[str, str]], written: bool) -> list[list[str]]:
    """What makes the timers run at the wanted times. One that is not there, or that somebody masked, is left alone.

    units: empty while the package is not installed.
    """
    timers = [name for name in TIMERS if not units or units.get(name, {}).get("LoadState") == "loaded"]
    off = [name for name in timers if units.get(name, {}).get("UnitFileState") != "enabled" or units[name]["ActiveState"] != "active"]
    stale = written or any(units.get(name, {}).get("NeedDaemonReload") == "yes" for name in timers)
    commands = [["systemctl", "daemon-reload"]] if stale else []
    return commands + ([["systemctl", "enable", "--now", *off]] if off else [])


def monitor_is_old(unit: Mapping[str, str], configured: float) -> bool:
    """Whether the monitor does not run, or began before mdadm.conf was written, which it reads once. configured: seconds."""
    began = unit.get("ExecMainStartTimestamp", "").removeprefix("@")
    return unit.get("ActiveState") != "active" or not began.isdigit() or int(began) < int(configured)
