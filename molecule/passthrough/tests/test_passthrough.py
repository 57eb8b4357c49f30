# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A guest with a PCI device of its own, on a host with an IOMMU: what the device gives it comes by DMA."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.qemu import SPARE_ADDRESS
from tests.lab.hands import ROOT, Hands, Run

NAME, HOST, GUEST = "passthrough", "xen01", "pci01"
CONSOLE = f"/var/log/xen/console/guest-{GUEST}.log"
# A source of random bytes, as virtio knows it (Virtual I/O Device Version 1.2, 4.1.2).
DEVICE = "0x1af4 0x1044"


@pytest.fixture(name="bare")
def _bare() -> Iterator[Hands]:
    """The host without the guest: that of an earlier run is gone and dom0 has its device again. No state of such a host can be saved to go
    back to."""
    hands = Hands(NAME, ROOT / "molecule" / NAME / "inventory", "/dev/null")
    hands.run(HOST, f"! xl list {GUEST} || xl destroy {GUEST}; rm -f /etc/xen/guests/{GUEST}.cfg /etc/xen/auto/*-{GUEST}")
    hands.run(HOST, f"! xl pci-assignable-list | grep -q {SPARE_ADDRESS[5:]} || xl pci-assignable-remove -r {SPARE_ADDRESS}")
    yield hands
    hands.drop_connections()


def site(hands: Hands) -> Run:
    guest = {
        "name": GUEST, "type": "pv", "vcpus": 1, "memory_mib": 160, "tsc_mode": "native", "current": HOST, "autostart": 10,
        "pci": [{"address": SPARE_ADDRESS}], "demand": {"cpu_cores": 0.1},
        "boot": {"image": "lab", "cmdline": f"console=hvc0 name={GUEST} device=on"},
    }
    settings = {"estate_workloads": [guest], "estate_rules": [], "estate_policy": {"objective": "hosts"}}
    words = ("--tags", "dom0,guests", "-e", f"plan_dir={hands.folder}/plan")
    return hands.play("playbooks/site.yml", HOST, words, settings, 1200, limit=False)


def test_a_pv_guest_works_with_a_device_of_the_host(bare: Hands) -> None:
    bare.holds(HOST, "xl info | grep -q '^virt_caps.* pv_directio'", f"test -e /sys/bus/pci/devices/{SPARE_ADDRESS}/driver")
    refused = site(bare)
    assert refused.rc != 0 and f"PCI device of pciback {SPARE_ADDRESS}" in " ".join(refused.text.split()), refused.text
    # As docs/guests.md has it.
    bare.run(HOST, f"modprobe xen-pciback && xl pci-assignable-add {SPARE_ADDRESS}")
    done = site(bare)
    assert done.rc == 0, done.text
    bare.wait(HOST, f"grep -q 'xenfold guest {GUEST} up' {CONSOLE}", 180, f"xl list; tail -n 40 {CONSOLE}")
    print(bare.run(HOST, f"cat {CONSOLE}; xl pci-list {GUEST}"))
    bare.holds(HOST, f"grep -q 'guest {GUEST} has device {DEVICE}' {CONSOLE}",
               f"grep -Eq 'guest {GUEST} was given [0-9a-f]{{16}}' {CONSOLE}", f"! grep -q 'was given 0000000000000000' {CONSOLE}",
               f"xl pci-list {GUEST} | grep -q {SPARE_ADDRESS[5:]}")
    again = site(bare)
    assert (again.rc, set(again.changed.values())) == (0, {0}), again.text
    bare.run(HOST, f"xl shutdown -w {GUEST}", timeout=180)
    # Its domain goes a moment after it is down.
    bare.wait(HOST, f"xl pci-assignable-list | grep -q {SPARE_ADDRESS[5:]}", 60, "xl list; xl pci-assignable-list")
