# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings the watcher of limits and the wanted limits to a host, takes them away when no guest has any, and reads back what holds."""
from __future__ import annotations

import contextlib
import inspect
import os
import shutil
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils import systemd
from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import (
    WantedFile,
    differing,
    file_diff,
    read_texts,
    write_atomically,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.limits import host, kernel, plan, watch
from ansible_collections.xenfold.consolidation.plugins.module_utils.limits.wanted import text_of, wanted_of, without_limits
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

UNIT = "xenfold-limits.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
LIMITS_FILE = "/etc/xenfold/limits.json"
LIBRARY = "/usr/local/lib/xenfold"
PROGRAM = f"{LIBRARY}/limits"
ROOT = "/"
SETTLE_LOOKS, SETTLE_SECONDS = 3, 1.0
"""How often, and after which pause, a running watcher is given the time to mend what differs: a guest may be connecting just now."""
PROVE_SECONDS = 30

_UNIT_TEXT = f"""# Written by Xenfold; changes by hand are lost.
[Unit]
Description=Limits of guests' disks and networks (Xenfold)
ConditionPathExists=/sys/hypervisor/type
After=xen.service
# Guests that start with the host have their limits from the first moment.
Before=xendomains.service
StartLimitIntervalSec=0

[Service]
Environment=PYTHONPATH={LIBRARY} PYTHONDONTWRITEBYTECODE=1
ExecStart=/usr/bin/python3 -m limits.watch {LIMITS_FILE}
Restart=always
RestartSec=5
# systemd keeps the controller io switched on for the cgroups beside its own.
IOAccounting=yes

[Install]
WantedBy=multi-user.target
"""


class LimitsError(Exception):
    """Limits that do not hold after they were set; the text names them."""


@dataclass
class Change:
    """What a host needs. lift: no guest has limits any more, the watcher goes; actual: what the kernel said, None where it was not asked;
    notes: minimum shares that an uplink with a missing link cannot hold; lacking: bridges that are not there."""

    wanted: plan.Wanted = field(default_factory=dict)
    files: list[WantedFile] = field(default_factory=list)
    texts: Mapping[str, str | None] = field(default_factory=dict)
    steps: list[plan.Step] = field(default_factory=list)
    actual: kernel.Actual | None = None
    lift: bool = False
    reload: bool = False
    enable: bool = False
    start: str = ""
    obstacles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)

    def actions(self) -> list[Action]:
        found = [Action("write", f"file {file.path}") for file in self.files if not _is_program(file)]
        if any(map(_is_program, self.files)):
            found.append(Action("write", f"program {PROGRAM}"))
        found += [Action("enable", f"service {UNIT}")] if self.enable else []
        found += [Action(self.start, f"service {UNIT}")] if self.start else []
        found += [Action("remove", f"service {UNIT}", "no guest has limits")] if self.lift else []
        return found + [Action(step.verb, step.target, step.detail) for step in self.steps]

    def diffs(self) -> list[dict[str, str]]:
        """The limits and the unit before and after, and one line for everything else."""
        files = [file for file in self.files if not _is_program(file)]
        rest = "".join(f"{action.line()}\n" for action in self.actions() if not (action.verb == "write" and "file" in action.target))
        return [file_diff(file, self.texts) for file in files] + ([{"prepared": rest}] if rest else [])

    def told(self) -> dict[str, Any]:
        """The limits that hold, by guest and device."""
        return plan.told(self.wanted, self.actual) if self.actual else {}


def _is_program(file: WantedFile) -> bool:
    return file.path.startswith(f"{PROGRAM}/")


def wanted_files(wanted: plan.Wanted) -> list[WantedFile]:
    """The program first and what starts it last, so that a run that was cut off leaves nothing that fails."""
    modules = {"kernel": kernel, "plan": plan, "host": host, "watch": watch}
    return [
        WantedFile(f"{PROGRAM}/__init__.py", ""),
        *(WantedFile(f"{PROGRAM}/{name}.py", inspect.getsource(module)) for name, module in modules.items()),
        WantedFile(LIMITS_FILE, text_of(wanted)),
        WantedFile(UNIT_FILE, _UNIT_TEXT),
    ]


def _at(path: str) -> str:
    return os.path.join(ROOT, path.lstrip("/"))


def _machine(runner: Runner, change: bool = False) -> host.Host:
    def run(argv: list[str], data: str | None) -> tuple[int, str, str]:
        result = (runner.change if change else runner.read)(argv, ok=(), data=data)
        return result.rc, result.out, result.err

    return host.Host(run, ROOT)


def compare(runner: Runner, guests: Sequence[Mapping[str, Any]], visitors: plan.Wanted, xen_runs: bool) -> Change:
    """What differs between the limits of the normalised guests and the host.

    visitors: limits of guests that may move here. Runs no command where nothing is wanted and nothing is ours.
    """
    wanted = {**visitors, **wanted_of(guests)}
    any_limits = wanted != without_limits(wanted)
    files = wanted_files(wanted)
    texts = {path: read_texts([_at(path)])[_at(path)] for path in (file.path for file in files)}
    # The file of limits goes last, so a removal that was cut off is finished.
    if not any_limits and texts[LIMITS_FILE] is None and texts[UNIT_FILE] is None:
        return Change()
    found = Change(wanted if any_limits else without_limits(wanted), texts=texts, lift=not any_limits)
    unit = _unit(runner)
    if any_limits:
        found.obstacles += _partitions(guests)
        found.files = differing(files, texts)
        # A run that was cut off has written the unit and told systemd nothing.
        found.reload = unit.get("NeedDaemonReload") == "yes"
        found.enable = unit.get("UnitFileState") != "enabled"
        if unit.get("SubState") != "running":
            found.start = "start"
        elif found.reload:
            found.start = "restart"
    ready = xen_runs and runner.tool("xenstore-ls") and runner.tool("tc")
    machine = _machine(runner)
    settled = found.lift or found.files or found.start
    for look in range(SETTLE_LOOKS):
        if look:
            time.sleep(SETTLE_SECONDS)
        found.actual = _read(machine, found.wanted) if ready else None
        planned = plan.plan(found.wanted, found.actual or kernel.Actual())
        if settled or not planned.steps:
            break
    found.steps, found.notes = planned.steps, planned.notes
    found.obstacles += planned.problems
    if found.actual:
        absent = sorted(set(plan.minima(found.wanted)) - set(found.actual.bridges))
        found.lacking = [f"minimum shares cannot be held: there is no bridge {name}" for name in absent]
    if any_limits and not found.start and (found.steps or found.files):
        found.start = "restart"
    return found


def _read(machine: host.Host, wanted: plan.Wanted) -> kernel.Actual:
    try:
        return machine.read(wanted)
    except (host.HostError, OSError) as error:
        raise LimitsError(f"limits of guests cannot be read: {error}") from error


def _unit(runner: Runner) -> dict[str, str]:
    """ActiveState, SubState, UnitFileState and NeedDaemonReload of the watcher; empty on a host without systemd."""
    return systemd.show(runner, "ActiveState,SubState,UnitFileState,NeedDaemonReload", UNIT)[0] if runner.tool("systemctl") else {}


def _partitions(guests: Iterable[Mapping[str, Any]]) -> list[str]:
    """Disks with limits that are partitions: cgroups limit whole devices and volumes alone (blk-cgroup.c, blkcg_conf_open_bdev)."""
    found = []
    for guest in guests:
        for index, disk in enumerate(guest["disks"]):
            number = _number(_at(disk["target"])) if disk["limits"] else None
            if number and os.path.exists(_at(f"/sys/dev/block/{number}/partition")):
                found.append(f"guest {guest['name']!r}: disks[{index}].limits: {disk['target']} is a partition, "
                             "allowed for whole devices and volumes")
    return found


def _number(path: str) -> str | None:
    """MAJOR:MINOR of a block device; None for what is none or not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if stat.S_ISBLK(status.st_mode) else None


def apply(runner: Runner, change: Change) -> None:
    """Bring the watcher and its file, or take them away and lift what is left. Guests are started afterwards."""
    if change.lift:
        _lift(runner, change)
        return
    for file in change.files:
        write_atomically(WantedFile(_at(file.path), file.content, file.mode))
    if change.reload or any(file.path == UNIT_FILE for file in change.files):
        runner.change(["systemctl", "daemon-reload"])
    if change.enable:
        runner.change(["systemctl", "enable", UNIT])
    if change.start:
        runner.change(["systemctl", "restart", UNIT])


def _lift(runner: Runner, change: Change) -> None:
    if os.path.exists(_at(UNIT_FILE)):
        runner.change(["systemctl", "disable", "--now", UNIT])
        os.unlink(_at(UNIT_FILE))
        runner.change(["systemctl", "daemon-reload"])
    if change.actual is not None:
        # Asked again, for the watcher may have been at work.
        again = plan.plan(change.wanted, _read(_machine(runner), change.wanted))
        failed = _machine(runner, change=True).carry_out(again.steps)
        if failed:
            raise LimitsError("limits are not lifted: " + "; ".join(failed))
        with contextlib.suppress(OSError):
            os.rmdir(_at(plan.OURS))
    shutil.rmtree(_at(PROGRAM), ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_at(LIMITS_FILE))
    for path in (LIBRARY, os.path.dirname(LIMITS_FILE)):
        with contextlib.suppress(OSError):
            os.rmdir(_at(path))


def prove(runner: Runner, change: Change, xen_runs: bool) -> Change:
    """Read back, after a change, until everything holds and the watcher runs. Raises LimitsError with what does not in time."""
    if not xen_runs:
        return change
    machine = _machine(runner)
    deadline = time.monotonic() + PROVE_SECONDS
    while True:
        actual = _read(machine, change.wanted)
        left = [step.line() for step in plan.plan(change.wanted, actual).steps]
        if not change.lift and _unit(runner).get("SubState") != "running":
            left.append(f"{UNIT} does not run")
        if not left:
            return Change(change.wanted, actual=actual)
        if time.monotonic() >= deadline:
            raise LimitsError(f"limits do not hold {PROVE_SECONDS} s after they were set: {'; '.join(left)} (journalctl -u {UNIT})")
        time.sleep(SETTLE_SECONDS)
