# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A guest whose disk DRBD keeps on both hosts: it becomes such a guest, moves live, grows, survives its host, parts and goes."""
from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from scene import ESTATE, HOSTS, Scene, consoles

from lab import faults
from tests.lab.hands import ROUNDS, Run

GUEST, RESOURCE, MINOR = "repl01", "repl01-root", 7
HERE, THERE = HOSTS
PLAN = "replicated"
WHOLE = "cs:Connected ro:{}/{} ds:UpToDate/UpToDate"
# As docs/guests.md has it.
GIVE_UP = f"drbdadm secondary {RESOURCE}; drbdadm connect --discard-my-data {RESOURCE}"

pytestmark = pytest.mark.skipif(ROUNDS < 2, reason="takes half an hour: make lab-soak")


def estate(scene: Scene, size_mib: int = 64, replicated: bool = True, to: str | None = None, home: str = HERE) -> dict[str, Any]:
    """The lab's estate with one more guest. to: the only host that it may be on."""
    settings = yaml.safe_load(ESTATE.read_text(encoding="utf-8"))
    disk: dict[str, Any] = {"name": "root", "size_gib": size_mib / 1024, "volume_group": "vg_guests", "limits": {"write_iops": 2000}}
    workload = {
        "name": GUEST, "type": "pvh", "vcpus": 1, "memory_mib": 96, "tsc_mode": "native", "autostart": 10,
        "networks": [{"bridge": "xenbr0"}], "demand": {"cpu_cores": 0.1, "network_mbps": 2}, "current": home,
        "boot": {"image": "lab", "cmdline": f"console=hvc0 name={GUEST} ip=10.9.0.62/24"},
    }
    if replicated:
        disk["drbd_minor"] = MINOR
        workload |= {"storage": "replicated", "replica": next(host for host in HOSTS if host != home)}
    workloads = [{**one, "current": scene.guests[one["name"]]} for one in settings["estate_workloads"]]
    rules = [{"rule": "fence", "workloads": [GUEST], "hosts": [to]}] if to else []
    return {"estate_workloads": [*workloads, {**workload, "disks": [disk]}], "estate_rules": [*settings["estate_rules"], *rules],
            "estate_policy": {"objective": "hosts", "max_moves": 1}}


def site(scene: Scene, settings: dict[str, Any], *words: str) -> Run:
    return scene.good("site", settings, "--tags", "guests", *words, folder=PLAN)


def whole(scene: Scene, home: str) -> None:
    """Both copies are the same, and the guest's host alone writes."""
    for host in HOSTS:
        roles = ("Primary", "Secondary") if host == home else ("Secondary", "Primary")
        # DRBD copies slowly here: whatever was in its log of active extents when a host died.
        scene.wait(host, f"grep -q '{WHOLE.format(*roles)}' /proc/drbd", 600, "cat /proc/drbd; xl list")
        scene.holds(host, "! drbdsetup show | grep -q 'allow-two-primaries.*yes'")


def test_a_local_guest_becomes_replicated_moves_live_and_grows(fresh: Scene) -> None:
    local = estate(fresh, replicated=False)
    site(fresh, local)
    fresh.counts_on(HERE, GUEST, 0)
    fresh.run(HERE, f"xl shutdown -w {GUEST}", timeout=180)
    last = max(fresh.said(HERE, GUEST))
    settings = estate(fresh)
    shown = site(fresh, settings, "--check", "--diff")
    wanted = [f"create metadata of resource {RESOURCE}", f"begin resource {RESOURCE}: with what /dev/vg_guests/{RESOURCE} of {HERE} has",
              f"start resource {RESOURCE}"]
    assert all(line in shown.text for line in wanted), shown.text
    fresh.holds(HERE, f"! test -e /etc/drbd.d/xenfold-{RESOURCE}.res", f"! test -e /dev/drbd{MINOR}")
    site(fresh, settings)
    whole(fresh, HERE)
    fresh.wait(HERE, f"cat {consoles(GUEST)} | grep -q 'guest {GUEST} disk kept'", 120, f"cat {consoles(GUEST)}")
    fresh.holds(HERE, "systemctl is-enabled -q xenfold-drbd")
    fresh.counts_on(HERE, GUEST, last)
    # The limit holds on DRBD's device.
    fresh.holds(HERE, f"grep -q '^147:{MINOR} .*wiops=2000' /sys/fs/cgroup/xenfold/guest-{GUEST}/io.max")
    again = site(fresh, settings)
    assert set(again.changed.values()) == {0}, again.text

    moved = estate(fresh, to=THERE)
    fresh.good("plan", moved, folder=PLAN)
    last = max(fresh.said(HERE, GUEST))
    done = fresh.good("apply", moved, folder=PLAN)
    print(re.search(r"step 1 of 1: .*", done.text))
    assert GUEST in fresh.domains(THERE) and GUEST not in fresh.domains(HERE)
    whole(fresh, THERE)
    fresh.counts_on(THERE, GUEST, last)
    fresh.holds(THERE, f"grep -q '^147:{MINOR} .*wiops=2000' /sys/fs/cgroup/xenfold/guest-{GUEST}/io.max")
    again = fresh.good("apply", moved, folder=PLAN)
    assert set(again.changed.values()) == {0}, again.text

    # The inventory still has it on the first host; the two have exchanged their parts.
    site(fresh, estate(fresh, size_mib=96))
    for host in HOSTS:
        # A copy that is not primary cannot be opened.
        fresh.holds(host, f"test $(cat /sys/block/drbd{MINOR}/size) = {96 * 2**20 // 512}")
    whole(fresh, THERE)
    fresh.run(THERE, f"drbdadm verify {RESOURCE}")
    fresh.wait(THERE, f"grep -q '{WHOLE.format('Primary', 'Secondary')}' /proc/drbd", 120, "cat /proc/drbd")
    fresh.holds(THERE, f"grep -A1 '^ *{MINOR}:' /proc/drbd | grep -q ' oos:0$'")


def test_a_replicated_guest_survives_its_host_and_copies_that_part_are_told(fresh: Scene) -> None:
    settings = estate(fresh)
    site(fresh, settings)
    whole(fresh, HERE)
    fresh.counts_on(HERE, GUEST, 0)
    last = max(fresh.said(HERE, GUEST))
    faults.power_off(fresh.lab, HERE)
    fresh.copy_of_inventory()
    off = ("-e", f"host={HERE}", "-e", f"hosts_off={HERE}")
    fresh.good("recover", settings, *off, folder=PLAN)
    fresh.holds(THERE, f"cat {consoles(GUEST)} | grep -q 'guest {GUEST} disk kept'")
    # What was on the disk when the power went; the last second may not have been.
    assert max(fresh.said(THERE, GUEST)) >= last - 5
    fresh.counts_on(THERE, GUEST, last)
    fresh.power_on()
    whole(fresh, THERE)
    assert GUEST not in fresh.domains(HERE)

    # A copy that is written behind the back of the other one, which DRBD allows by force alone.
    for host in HOSTS:
        fresh.run(host, f"drbdadm disconnect {RESOURCE}")
    write = f"dd if=/dev/urandom of=/dev/drbd{MINOR} bs=64k seek=900 count=1 oflag=direct status=none"
    fresh.run(HERE, f"drbdadm primary --force {RESOURCE} && {write} && drbdadm secondary {RESOURCE}")
    fresh.counts_on(THERE, GUEST)
    # The guest goes on, so this is told and ends no run.
    parted = site(fresh, settings)
    assert "its copies have parted" in " ".join(parted.text.split()), parted.text
    told = fresh.play_all("audit", settings, folder=PLAN)
    report = json.loads((fresh.folder / PLAN / "audit.json").read_text(encoding="utf-8"))
    found = {host: [entry["item"] for entry in there["findings"] if entry["kind"] == "replica"] for host, there in report["hosts"].items()}
    assert found == {host: [RESOURCE] for host in HOSTS}, told.text
    fresh.run(HERE, GIVE_UP)
    fresh.run(THERE, f"drbdadm connect {RESOURCE} || true")
    whole(fresh, THERE)
    fresh.counts_on(THERE, GUEST)

    gone = {**settings, "estate_workloads": settings["estate_workloads"][:-1], "guests_remove": [GUEST]}
    site(fresh, gone)
    site(fresh, gone)
    for host in HOSTS:
        fresh.holds(host, f"! xl list {GUEST}", f"! test -e /etc/drbd.d/xenfold-{RESOURCE}.res",
                    f"test -e /dev/vg_guests/{RESOURCE}.removed", f"! grep -q '^ *{MINOR}: cs:[^U]' /proc/drbd")
