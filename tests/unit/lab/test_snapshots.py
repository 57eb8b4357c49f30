# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""States are saved at a moment when no CPU is in a guest of Xen. QEMU is false here; the scenarios save and restore for real."""
from __future__ import annotations

from typing import Any

import pytest

from lab import labs, snapshots
from lab.errors import LabError
from lab.spec import Spec
from lab.state import Lab

# Tables of Xen, of a PV dom0, of a Linux guest and of one that has just begun; plain: Linux without Xen.
XEN, PV, GUEST, EARLY, PLAIN = "ffff82d040461000", "ffff820000000000", "fffffe0000001000", "000f5fe0", "fffffe0000001000 plain"


def registers(*cpus: str) -> str:
    rows = []
    for number, (table, *plain) in enumerate(cpu.split() for cpu in cpus):
        mode = "0000000000000d01" if plain else "0000000000001d01"
        rows.append(f"CPU#{number}\nRIP=0\nGDT=     {table} 0000efff\nIDT=     {GUEST} 00000fff\nEFER={mode}")
    return "\n".join(rows)


@pytest.mark.parametrize(("tables", "found"), [
    ((XEN, PV), False), ((XEN, GUEST), True), ((GUEST, PV), True), ((XEN, EARLY), True), ((PLAIN, PLAIN), False), ((), False),
])
def test_a_cpu_in_a_guest_is_told_by_its_table(tables: tuple[str, ...], found: bool) -> None:
    assert snapshots.in_guest(registers(*tables)) is found


@pytest.fixture(name="paused")
def _paused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the hosts' CPUs are at, look after look, and what was done."""
    told: dict[str, Any] = {"looks": {}, "done": []}
    monkeypatch.setattr(snapshots, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(snapshots, "_pause", lambda _lab, host: told["done"].append(f"stop {host}"))
    monkeypatch.setattr(snapshots, "_go_on", lambda _lab, host: told["done"].append(f"cont {host}"))
    monkeypatch.setattr(snapshots, "_registers", lambda _lab, host: registers(*told["looks"][host].pop(0)))
    return told


def test_hosts_are_stopped_again_until_all_are_outside_of_guests(lab: Lab, paused: dict[str, Any]) -> None:
    first, *others = lab.hosts
    paused["looks"] = {first: [(XEN,), (GUEST,), (XEN,)], **{host: [(GUEST,), (XEN,), (PV,)] for host in others}}
    snapshots._pause_outside_guests(lab, "converged")
    assert sorted(paused["done"][-len(lab.hosts):]) == [f"stop {host}" for host in lab.hosts]
    assert paused["done"].count(f"cont {first}") == (2 if others else 1)


def test_guests_that_never_rest_are_told(lab: Lab, paused: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_PAUSES", 3)
    paused["looks"] = {host: [(GUEST,)] * 3 for host in lab.hosts}
    with pytest.raises(LabError, match="save converged: a guest was at work at each of 3 looks"):
        snapshots._pause_outside_guests(lab, "converged")
    # They go on, as before the save.
    assert paused["done"][-1].startswith("cont ")


def test_a_lab_whose_hosts_have_an_iommu_is_not_saved(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Spec(hosts=1, iommu=True)
    with pytest.raises(LabError, match="no state of a lab with --iommu can be saved"):
        labs.up("iommu", spec, "bare")
    monkeypatch.setattr(lab, "spec", spec)
    with pytest.raises(LabError, match="no state of a lab with --iommu can be saved"):
        snapshots.save(lab, "bare")
