# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The converged pair of hosts with its guests: saved once, gone back to."""
from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from lab import faults, snapshots
from lab.state import locked
from tests.lab.hands import ROOT, Hands

NAME = "consolidation"
SAVED = "converged"
INVENTORY = ROOT / "inventories" / "lab"
ESTATE = INVENTORY / "group_vars" / "all" / "estate.yml"
HOSTS = ("xen01", "xen02")
# Volumes in dom0 beside those of the guests: one that nobody touches, one that is written all the time.
MARK, WORK = "/dev/vg_guests/mark", "/dev/vg_guests/work"


class Scene(Hands):
    """The pair of hosts. `spoiled`: the next test must start from the saved state."""

    def __init__(self) -> None:
        super().__init__(NAME, INVENTORY, WORK)
        self.spoiled = False
        self.marks: dict[str, str] = {}
        # Guest -> host, by the plan of the converged pair.
        self.guests: dict[str, str] = json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))["placement"]

    def on(self, host: str) -> list[str]:
        return sorted(name for name, where in self.guests.items() if where == host)

    # The saved pair

    def prepare(self) -> None:
        """Save the converged pair once, at rest: arrays in sync, guests up, volumes for the tests filled."""
        if SAVED in self.lab.snapshots():
            self.restore()
            return
        for host in HOSTS:
            # The first synchronisation would hide what a pulled disk does.
            self.run(host, "for f in /sys/block/md*/md/sync_speed_min; do echo 500000 > $f; done")
            for path, size in ((MARK, "16M"), (WORK, "256M")):
                self.run(host, f"test -b {path} || lvcreate -q -y -W n -L {size} -n {path.rsplit('/', 1)[1]} vg_guests")
            self.run(host, f"dd if=/dev/urandom of={MARK} bs=1M count=16 oflag=direct status=none")
        for host in HOSTS:
            self.wait(host, "grep -q '\\[4/4\\] \\[UUUU\\]' /proc/mdstat && ! grep -Eq 'resync|recovery|PENDING' /proc/mdstat", 400)
            for guest in self.on(host):
                self.wait(host, f"grep -q 'xenfold guest {guest} up' /var/log/xen/console/guest-{guest}.log", 180,
                          f"tail -n 20 /var/log/xen/console/guest-{guest}.log; xl list")
        self.marks = {host: self.mark(host) for host in HOSTS}
        (self.folder / "marks.json").write_text(json.dumps(self.marks), encoding="utf-8")
        with locked(NAME):
            snapshots.save(self.lab, SAVED)

    def restore(self) -> None:
        """Back to the converged pair, whatever state the hosts are in."""
        self.back_to(SAVED)
        self.inventory = INVENTORY
        self.marks = json.loads((self.folder / "marks.json").read_text(encoding="utf-8"))
        self.spoiled = False
        for host in HOSTS:
            self.wait(host, "grep -q 'Number of ports: 2' /proc/net/bonding/bond0", 60, "cat /proc/net/bonding/bond0")

    def copy_of_inventory(self) -> Path:
        """Its playbooks may write into that: which hosts are drained. The next restore() ends it."""
        self.inventory = self.folder / "inventory"
        shutil.rmtree(self.inventory, ignore_errors=True)
        shutil.copytree(INVENTORY, self.inventory)
        return self.inventory

    # What must not change

    def mark(self, host: str) -> str:
        return self.run(host, f"echo 3 > /proc/sys/vm/drop_caches; sha256sum < {MARK}").split()[0]

    def domains(self, host: str) -> dict[str, str]:
        """Guest -> domain id: another id is another start."""
        rows = [line.split() for line in self.run(host, "xl list").splitlines()[1:]]
        return {row[0]: row[1] for row in rows}

    def places(self) -> dict[str, str]:
        """Guest -> the host on which it runs; one that runs twice is an error."""
        found: dict[str, str] = {}
        for host in HOSTS:
            for name in self.domains(host):
                if name != "Domain-0":
                    assert name not in found, f"{name} runs on {found[name]} and on {host}"
                    found[name] = host
        return found

    def power_on(self) -> None:
        """Boot what is off."""
        self.drop_connections()
        # The same shape as create.yml asks for.
        self.command("up", "--hosts", "2", "--data-disks", "11", timeout=faults.BOOT_SECONDS + 60)


def lab_settings(name: str) -> Any:
    """A setting of the lab's hosts as the inventory has it."""
    return yaml.safe_load((INVENTORY / "group_vars" / "xen_hosts" / "host.yml").read_text(encoding="utf-8"))[name]


def addresses() -> dict[str, str]:
    """Guest -> address, from what their kernels are told."""
    estate = yaml.safe_load(ESTATE.read_text(encoding="utf-8"))
    found = {guest["name"]: re.search(r"\bip=([0-9.]+)/", guest["boot"]["cmdline"]) for guest in estate["estate_workloads"]}
    return {name: match[1] for name, match in found.items() if match}
