# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The converged pair of hosts with its guests: saved once, gone back to."""
from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lab import faults, snapshots
from lab.state import locked
from tests.lab.hands import ROOT, Hands, Run

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
        self.guests: dict[str, str] = self.planned()

    def planned(self) -> dict[str, str]:
        return dict(json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))["placement"])

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
        self.guests = self.planned()
        self.marks = json.loads((self.folder / "marks.json").read_text(encoding="utf-8"))
        self.spoiled = False
        for host in HOSTS:
            self.wait(host, "grep -q 'Number of ports: 2' /proc/net/bonding/bond0", 60, "cat /proc/net/bonding/bond0")

    def clear(self) -> None:
        """Take away the guests of the plan, until the next restore()."""
        for guest, host in self.guests.items():
            self.run(host, f"rm -f /etc/xen/auto/*-{guest} /etc/xen/guests/{guest}.cfg; xl destroy {guest}")
        self.guests = {}

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

    # What guests count on their consoles

    def said(self, host: str, guest: str) -> list[int]:
        """The numbers that a guest has said on this host, sorted; one that has moved there keeps the name under which it came."""
        text = self.run(host, f"cat {consoles(guest)} 2>/dev/null; true")
        # The guest's kernel may say something in the same line, and a line ends in a carriage return.
        return sorted(int(found) for found in re.findall(r"\bcount (\d+)", text))

    def counted(self, guest: str) -> list[int]:
        """The numbers of all hosts, sorted: their clocks need not agree to the second."""
        return sorted(number for host in HOSTS for number in self.said(host, guest))

    def counts_on(self, host: str, guest: str, last: int | None = None, seconds: float = 240) -> None:
        """The guest counts there beyond a number, which is the last that it has said there when none is given."""
        last = max(self.said(host, guest)) if last is None else last
        end = time.monotonic() + seconds
        while max(self.said(host, guest), default=0) < last + 3:
            # A kernel's last words fill more than a screen.
            told = f"xl list; tail -n 120 {consoles(guest)}"
            assert time.monotonic() < end, f"{guest} does not count beyond {last} on {host}:\n{self.run(host, told)}"
            time.sleep(2)

    # Playbooks for the whole estate

    def play_all(self, name: str, settings: Mapping[str, Any], *words: str, folder: str | None = None, timeout: float = 1200) -> Run:
        """playbooks/NAME.yml on all hosts. folder: of its plan, below that of the lab; NAME when none is given."""
        place = ("-e", f"plan_dir={self.folder}/{folder or name}")
        return self.play(f"playbooks/{name}.yml", "both", (*place, *words), settings, timeout, limit=False)

    def good(self, name: str, settings: Mapping[str, Any], *words: str, folder: str | None = None, timeout: float = 1200) -> Run:
        """The same, and it must succeed."""
        done = self.play_all(name, settings, *words, folder=folder, timeout=timeout)
        assert done.rc == 0, done.text
        return done

    def power_on(self) -> None:
        """Boot what is off."""
        self.drop_connections()
        # The same shape as create.yml asks for.
        self.command("up", "--hosts", "2", "--data-disks", "11", timeout=faults.BOOT_SECONDS + 60)


def consoles(guest: str) -> str:
    """For a shell: the files with what a guest has said on its console."""
    return f"/var/log/xen/console/guest-{guest}*.log"


def lab_settings(name: str) -> Any:
    """A setting of the lab's hosts as the inventory has it."""
    return yaml.safe_load((INVENTORY / "group_vars" / "xen_hosts" / "host.yml").read_text(encoding="utf-8"))[name]


def addresses() -> dict[str, str]:
    """Guest -> address, from what their kernels are told."""
    estate = yaml.safe_load(ESTATE.read_text(encoding="utf-8"))
    found = {guest["name"]: re.search(r"\bip=([0-9.]+)/", guest["boot"]["cmdline"]) for guest in estate["estate_workloads"]}
    return {name: match[1] for name, match in found.items() if match}
