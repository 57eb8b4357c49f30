# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Saved states of all hosts of a lab together: memory, devices and disks, inside the disk images."""

from __future__ import annotations

import concurrent.futures
import re
import time
from collections.abc import Callable, Sequence

from lab import process, ssh
from lab.console import say
from lab.errors import LabError
from lab.spec import Spec, check_name
from lab.state import Lab

_SAVE_SECONDS = 300
READY_SECONDS = 180
_PAUSES, _PAUSE_SECONDS = 200, 0.05
_XEN_ADDRESSES = range(0xFFFF_8000_0000_0000, 0xFFFF_8800_0000_0000)
# Bit of EFER that Xen sets, in itself and in its guests; a host that runs no Xen does not.
_SVM_ENABLED = 0x1000


def need_states(spec: Spec) -> None:
    """An error for a lab whose hosts cannot be saved."""
    if spec.iommu:
        raise LabError("no state of a lab with --iommu can be saved: QEMU has none of an IOMMU (amd-iommu)")


def save(lab: Lab, name: str, sync: bool = True) -> None:
    """Save all hosts as `name`, replacing an older one. They are stopped together, so that they agree on the state."""
    check_name("snapshot", name)
    need_states(lab.spec)
    begun = time.monotonic()
    missing = [host for host in lab.hosts if not process.alive(lab, host)]
    if missing:
        raise LabError(f"save {name}: {', '.join(missing)} not running; run: python3 -m lab --name {lab.name} power-on HOST")
    if sync:
        ssh.call_all(lab, lab.hosts, "sync")
    try:
        _pause_outside_guests(lab, name)
        in_all(lab.hosts, lambda host: _save_host(lab, host, name))
        lab.write_snapshots({**lab.snapshots(), name: {host: lab.disks(host) for host in lab.hosts}})
    finally:
        in_all(lab.hosts, lambda host: _go_on(lab, host))
    say(f"saved {name} in {time.monotonic() - begun:.1f} s")


def restore(lab: Lab, name: str) -> None:
    """Bring all hosts back to `name`, whatever they are doing now, running or not.

    Each host gets a fresh QEMU: that is as quick as loading into the old one, frees the memory the old one has
    touched, and is right after disks were pulled or replaced.
    """
    saved = lab.snapshots()
    if name not in saved:
        known = ", ".join(sorted(saved)) or "none"
        raise LabError(f"restore {name}: no such snapshot in lab {lab.name}; there are: {known}")
    begun = time.monotonic()
    in_all(lab.hosts, lambda host: process.kill_host(lab, host))
    for host in lab.hosts:
        lab.write_disks(host, saved[name][host])
    process.start_hub(lab)
    resume(lab, name)
    say(f"restored {name} in {time.monotonic() - begun:.1f} s")


def resume(lab: Lab, name: str) -> None:
    """Start all hosts from their saved state, let them go on together, set their clocks, wait for SSH."""
    in_all(lab.hosts, lambda host: process.start(lab, lab.machine(host), loadvm=name))
    in_all(lab.hosts, lambda host: _go_on(lab, host))
    set_clock = f"date -u -s @{int(time.time()) + 1} > /dev/null"
    ssh.wait_ready(lab, lab.hosts, READY_SECONDS, process.alive, script=set_clock)


def _pause_outside_guests(lab: Lab, name: str) -> None:
    """Stop all hosts together at a moment when none of their CPUs is in a guest of Xen: such a state QEMU 7.2 saves and refuses to load."""
    for _try in range(_PAUSES):
        in_all(lab.hosts, lambda host: _pause(lab, host))
        if not any(in_guest(_registers(lab, host)) for host in lab.hosts):
            return
        in_all(lab.hosts, lambda host: _go_on(lab, host))
        time.sleep(_PAUSE_SECONDS)
    raise LabError(f"save {name}: a guest was at work at each of {_PAUSES} looks; save it when guests are at rest")


def _registers(lab: Lab, host: str) -> str:
    with process.monitor(lab, host) as qmp:
        return qmp.monitor("info registers -a")


def in_guest(registers: str) -> bool:
    """Whether a CPU is in a guest of Xen, by its descriptor table: in Xen itself and in a PV dom0 it is Xen's, at Xen's addresses."""
    tables = re.findall(r"^GDT=\s+([0-9a-f]+)", registers, re.MULTILINE)
    modes = re.findall(r"^EFER=([0-9a-f]+)", registers, re.MULTILINE)
    return any(int(mode, 16) & _SVM_ENABLED and int(base, 16) not in _XEN_ADDRESSES for base, mode in zip(tables, modes, strict=True))


def _pause(lab: Lab, host: str) -> None:
    with process.monitor(lab, host) as qmp:
        qmp.execute("stop")


def _save_host(lab: Lab, host: str, name: str) -> None:
    with process.monitor(lab, host) as qmp:
        said = qmp.monitor(f"savevm {name}", timeout=_SAVE_SECONDS)
        if said:
            raise LabError(f"{host}: savevm {name}: {said}")


def _go_on(lab: Lab, host: str) -> None:
    with process.monitor(lab, host) as qmp:
        qmp.execute("cont")


def in_all(hosts: Sequence[str], action: Callable[[str], object]) -> None:
    """The same action for all hosts side by side; the first error is raised when all have ended."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(hosts))) as pool:
        for future in [pool.submit(action, host) for host in hosts]:
            future.result()
