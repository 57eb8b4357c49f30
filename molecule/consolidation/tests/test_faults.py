# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must hold when cables, disks, the controller or the power go. In this order: few tests go back to the saved pair."""
from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import json
import random
import re
import time
from collections.abc import Sequence

import pytest
from scene import HOSTS, Scene, addresses, lab_settings

from tests.lab.hands import MODULES, ROUNDS, Point

ADDRESSES = addresses()
PROVISION = "playbooks/provision.yml"

# The partner sends on a dead link until three of its LACP packets are missing, 3 s; seen were 2.8 s.
LONGEST_GAP_SECONDS = 8
PING_SECONDS = 25
REBUILD_SECONDS = 400

# Spare disks of xen01 and what is put on them: kind -> disk and the words that the refusal must have for it.
FOREIGN = {
    "ext4": ("XF1D5", r"ext4"),
    "lvm": ("XF1D6", r"LVM2_member"),
    "md": ("XF1D7", r"member of array \S*foreign"),
    "swap": ("XF1D8", r"swap"),
    "gpt": ("XF1D9", r"partition table gpt"),
    "mounted": ("XF1D10", r"is mounted at /mnt/faults"),
    "guest": ("XF1D11", r"is the disk of a running guest"),
}


def member(host: int, disk: int) -> dict[str, object]:
    return {"id": f"virtio-XF{host}D{disk}", "serial": f"XF{host}D{disk}", "size_gib": 2, "iops": 150}


def with_array(name: str, level: int, members: list[dict[str, object]]) -> dict[str, list[dict[str, object]]]:
    """The lab's arrays and one more."""
    return {"storage_arrays": [*lab_settings("storage_arrays"), {"name": name, "level": level, "members": members}]}


def array_holds(name: str) -> tuple[str, ...]:
    return (
        f"grep -q '^ARRAY /dev/md/{name} ' /etc/mdadm/mdadm.conf",
        f"mdadm --detail /dev/md/{name} | grep -Eq 'Active Devices : 2'",
        "! grep -q inactive /proc/mdstat",
        "mdadm --detail /dev/md/guests | grep -q 'Active Devices : 4'",
        'for image in /boot/initrd.img-*; do test ! -e "$image" || test "$image" -nt /etc/mdadm/mdadm.conf || exit 1; done',
    )


def bridge_point(host: str) -> Point:
    """One more bridge, and a cut when the guard has just been armed and the new files are being written."""
    return Point(
        "network", host, PROVISION,
        {"network_bridges": [*lab_settings("network_bridges"), {"name": "xenbr9"}]},
        "test -e /var/lib/xenfold/network/armed",
        (
            "test -d /sys/class/net/xenbr9/bridge",
            "test -e /var/lib/xenfold/network/confirmed",
            "! test -e /var/lib/xenfold/network/armed",
            "! test -e /var/lib/xenfold/network/restoring",
            "! test -e /etc/systemd/system/xenfold-network-boot.service",
            "! systemctl is-active -q xenfold-network-guard.timer",
            "grep -q 'Number of ports: 2' /proc/net/bonding/bond0",
        ),
        words=("--tags", "network"),
    )


POINTS = {
    # The kernel has the array; its edges, its synchronisation and the initramfs are still to come.
    "storage": Point(
        "storage", "xen01", PROVISION, with_array("extra", 1, [member(1, 5), member(1, 6)]),
        "grep -q ' raid1 ' /proc/mdstat", array_holds("extra"), words=("--tags", "storage"),
    ),
    "network": bridge_point("xen02"),
    # In the middle of update-grub, after the files. The touch makes the menu older than the drop-in, as a cut-off run leaves it.
    "dom0": Point(
        "dom0", "xen01", PROVISION,
        {"dom0_xl_options": {"autoballoon": "off", "claim_mode": 1, "run_hotplug_scripts": 1}, "dom0_shutdown_wait_seconds": 301},
        "pgrep -f '[g]rub-mkconfig'",
        (
            "grep -q '^run_hotplug_scripts' /etc/xen/xl.conf",
            "grep -q 301 /etc/default/xendomains",
            "test /boot/grub/grub.cfg -nt /etc/default/grub.d/00-xenfold.cfg",
            "! test -e /boot/grub/grub.cfg.new",
        ),
        words=("--tags", "dom0"), prepare="touch /etc/default/grub.d/00-xenfold.cfg",
    ),
    # Its configuration is there and the guest is about to be started.
    "guests": Point(
        "guests", "xen02", "molecule/consolidation/one_guest.yml",
        {"guests_definitions": [{
            "name": "extra01", "type": "pvh", "vcpus": 1, "memory_mib": 128, "tsc_mode": "native", "autostart": 20,
            "disks": [{"name": "data", "size_gib": 0.125, "volume_group": "vg_guests"}], "networks": [{"bridge": "xenbr0"}],
            "boot": {"image": "lab", "cmdline": "console=hvc0 name=extra01 ip=10.9.0.59/24"},
        }]},
        "test -e /etc/xen/guests/extra01.cfg",
        (
            "test $(xl list | grep -c '^extra01 ') = 1",
            "! xl list | grep -q '(null)'",
            "test -b /dev/vg_guests/extra01-data",
            "test -L /etc/xen/auto/20-extra01",
        ),
    ),
}


# One link of the bond, both, and both again


@dataclasses.dataclass(frozen=True)
class Pinged:
    """What a row of pings found: replies, and the longest time without one, the ends of the row included."""

    replies: int
    longest_gap_seconds: float
    text: str


def ping(scene: Scene, host: str, address: str, seconds: int) -> Pinged:
    text = scene.ask(host, f"ping -n -i 0.25 -w {seconds} {address}", seconds + 60).stdout
    sent = int((re.search(r"(\d+) packets transmitted", text) or pytest.fail(text))[1])
    seen = sorted({int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", text)})
    steps = [0, *seen, sent + 1]
    longest = max(after - before for before, after in itertools.pairwise(steps)) - 1
    return Pinged(len(seen), longest * seconds / max(sent, 1), text)


def across(scene: Scene) -> list[tuple[str, str]]:
    """From each host to the guest web on the other one: over bridge, bond, bridge and the guest's interface."""
    return [(host, ADDRESSES[guest]) for guest in ("web01", "web02") for host in HOSTS if scene.guests[guest] != host]


def ping_across(scene: Scene, seconds: int, meanwhile: str | None = None) -> list[Pinged]:
    """Ping both ways at once; after 3 s the cable `meanwhile` of xen01 is unplugged."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        rows = [pool.submit(ping, scene, host, address, seconds) for host, address in across(scene)]
        if meanwhile:
            time.sleep(3)
            scene.command("unplug-nic", "xen01", meanwhile)
        return [row.result() for row in rows]


def link_is(nic: str, state: str) -> str:
    return f"grep -A 1 '^Slave Interface: {nic}$' /proc/net/bonding/bond0 | grep -q 'MII Status: {state}'"


def test_guests_keep_their_network_with_one_link_and_get_it_back_with_both(pair: Scene) -> None:
    bond = "cat /proc/net/bonding/bond0"
    before = {host: pair.domains(host) for host in HOSTS}
    try:
        for row in ping_across(pair, PING_SECONDS, meanwhile="eth1"):
            assert row.longest_gap_seconds <= LONGEST_GAP_SECONDS, row.text
        pair.wait("xen01", link_is("eth1", "down"), 30, bond)
        pair.command("unplug-nic", "xen01", "eth2")
        pair.wait("xen01", link_is("eth2", "down"), 30, bond)
        # Without any link nothing may answer: the pings do go over the bond.
        assert [row.replies for row in ping_across(pair, 4)] == [0, 0]
    finally:
        pair.command("join-network", "xen01")
    for host in HOSTS:
        pair.wait(host, "grep -q 'Number of ports: 2' /proc/net/bonding/bond0", 60, bond)
    for host, address in across(pair):
        pair.wait(host, f"ping -n -c 1 -W 2 {address}", 60, f"{bond}; ip neigh")
    for row in ping_across(pair, 5):
        assert row.replies > 0 and row.longest_gap_seconds <= 1.5, row.text
    assert {host: pair.domains(host) for host in HOSTS} == before


# Disks of RAID10


def test_two_pulled_disks_lose_nothing_and_new_ones_are_filled(pair: Scene) -> None:
    pair.spoiled = True
    host, array = "xen01", "/dev/md/guests"
    pair.start_writer(host)
    # Near layout: disks 1 and 2 are a pair, 3 and 4 are the other.
    pair.command("pull-disk", host, "1")
    pair.wait(host, "grep -q '\\[4/3\\] \\[_UUU\\]' /proc/mdstat", 90)
    pair.goes_on(host)
    pair.command("pull-disk", host, "3")
    pair.wait(host, "grep -q '\\[4/2\\] \\[_U_U\\]' /proc/mdstat", 90)
    pair.goes_on(host)

    for serial in ("XF1N1", "XF1N3"):
        pair.command("plug-disk", host, "--serial", serial, "--size-gib", "2")
        pair.wait(host, f"test -b /dev/disk/by-id/virtio-{serial}", 60, "ls -l /dev/disk/by-id")
    # The first by the playbook, the second by hand.
    done = pair.play("playbooks/replace_disk.yml", host, (
        "-e", f"host={host}", "-e", "serial=XF1D1", "-e", "new_serial=XF1N1", "-e", "new_id=virtio-XF1N1"), limit=False)
    assert done.rc == 0, done.text[-6000:]
    pair.goes_on(host)
    pair.ask(host, f"mdadm --manage {array} --remove detached; mdadm --manage {array} --remove failed")
    pair.run(host, f"mdadm --manage {array} --add /dev/disk/by-id/virtio-XF1N3")
    pair.wait(host, "grep -q '\\[4/4\\] \\[UUUU\\]' /proc/mdstat && ! grep -Eq 'resync|recovery' /proc/mdstat", REBUILD_SECONDS,
              f"cat /proc/mdstat; mdadm --detail {array}")

    count = pair.stop_writer(host)
    assert pair.python(host, "writer.py", "check", "/dev/vg_guests/work", str(count)) == f"ok {count}"
    assert pair.mark(host) == pair.marks[host]
    if ROUNDS > 1:
        # Both halves of every pair hold the same bytes.
        name = pair.run(host, f"basename $(readlink -f {array})")
        pair.run(host, f"echo check > /sys/block/{name}/md/sync_action")
        pair.wait(host, f"grep -q idle /sys/block/{name}/md/sync_action", REBUILD_SECONDS)
        assert pair.run(host, f"cat /sys/block/{name}/md/mismatch_cnt") == "0"

    # With the new disks in the inventory the role finds the array as it must be.
    arrays = lab_settings("storage_arrays")
    for place, serial in ((0, "XF1N1"), (2, "XF1N3")):
        arrays[0]["members"][place] |= {"id": f"virtio-{serial}", "serial": serial}
    found = pair.play(PROVISION, host, ("--tags", "storage"), {"storage_arrays": arrays})
    assert (found.rc, found.changed) == (0, {host: 0}), found.text[-6000:]
    assert "runs without" not in found.text and "lacks" not in found.text, found.text[-6000:]


# Disks that are not empty


def test_disks_with_anything_on_them_are_refused_by_name_and_untouched(pair: Scene) -> None:
    pair.spoiled = True
    host = "xen01"
    serials = [serial for serial, _words in FOREIGN.values()]
    pair.python(host, "disks.py", "fill", pair.on(host)[0], *(f"{kind}={serial}" for kind, (serial, _words) in FOREIGN.items()))
    before = json.loads(pair.python(host, "disks.py", "edges", *serials))
    arrays = pair.run(host, "grep '^md' /proc/mdstat")

    disks = [member(1, number) for number in range(5, 12)]
    settings = with_array("one", 5, disks[:3])
    settings["storage_arrays"].append({"name": "two", "level": 6, "members": disks[3:]})
    found = pair.play(PROVISION, host, ("--tags", "storage"), settings)

    assert found.rc != 0, found.text[-6000:]
    assert "No disk was changed." in found.text, found.text[-6000:]
    for kind, (serial, words) in FOREIGN.items():
        # What the message says of this disk: from its serial to the next disk's.
        assert re.search(rf"\(serial {serial}\)(?:(?!\(serial ).)*?{words}", found.text), f"{kind} on {serial}:\n{found.text[-6000:]}"
    assert json.loads(pair.python(host, "disks.py", "edges", *serials)) == before
    assert pair.run(host, "grep '^md' /proc/mdstat") == arrays
    pair.holds(host, "mountpoint -q /mnt/faults", "! grep -Eq '/dev/md/(one|two)' /etc/mdadm/mdadm.conf")
    assert pair.mark(host) == pair.marks[host]


# A controller that dies


def cut_and_finish(scene: Scene, points: Sequence[Point], with_module: bool, again: bool = True) -> None:
    """Runs, each on a host of its own, are killed; the next converge, one more (`again`) changes nothing, and what was there before is as
    it was."""
    before = {point.host: scene.domains(point.host) for point in points}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda point: scene.kill_controller(point, with_module), points))
        scene.without_controllers(*before)
        list(pool.map(lambda point: scene.finish(point, again), points))
    for point in points:
        scene.holds(point.host, *point.holds)
        after = scene.domains(point.host)
        there = before[point.host]
        assert {name: after.get(name) for name in there} == there, "a guest was started anew"
        assert scene.mark(point.host) == scene.marks[point.host]


# Two at a time, since there are two hosts.
@pytest.mark.parametrize("roles", [("storage", "network"), ("dom0", "guests")], ids="-".join)
def test_runs_whose_controllers_are_killed_are_finished_by_the_next(pair: Scene, roles: tuple[str, str]) -> None:
    points = [POINTS[role] for role in roles]
    # What is slow here, dom0's menu and a guest's start, is run a third time in the soak.
    cut_and_finish(pair, points, with_module=True, again=ROUNDS > 1 or "storage" in roles)
    for point in points:
        if point.role == "guests":
            pair.wait(point.host, "grep -q 'xenfold guest extra01 up' /var/log/xen/console/guest-extra01.log", 180,
                      "tail -n 20 /var/log/xen/console/guest-extra01.log; xl list")


@pytest.mark.skipif(ROUNDS < 2, reason="repeated: make lab-soak")
@pytest.mark.parametrize("number", range(1, ROUNDS))
@pytest.mark.parametrize("role", sorted(POINTS))
def test_a_run_that_is_killed_at_any_time_is_finished_by_the_next(fresh: Scene, role: str, number: int) -> None:
    chance = random.Random(f"{role}/{number}")
    point = POINTS[role]
    # From when the module is on the host; a run that is quicker than that ends by itself, and the rest must hold all the same.
    marker = f'test -n "$({MODULES})"'
    cut_and_finish(fresh, [dataclasses.replace(point, marker=marker, delay_seconds=chance.uniform(0, 10))], chance.random() < 0.5)


# Power cuts


@pytest.mark.skipif(ROUNDS < 2, reason="molecule/powercut cuts it more cruelly; repeated: make lab-soak")
def test_hosts_whose_power_is_cut_come_back_and_the_next_run_finishes(fresh: Scene) -> None:
    """One host while an array is created, the other while its network changes; both boot at once."""
    points = [
        Point("storage", "xen01", PROVISION, with_array("late", 1, [member(1, 7), member(1, 8)]),
              "pgrep -f '[m]dadm --create'", array_holds("late"), words=("--tags", "storage")),
        bridge_point("xen02"),
    ]
    fresh.start_writer("xen01")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        durable = fresh.written("xen01")
        for cut in [pool.submit(fresh.cut_power, point) for point in points]:
            cut.result()
        fresh.power_on()
        for host in HOSTS:
            fresh.wait(host, "test -b /dev/vg_guests/work", 120, "cat /proc/mdstat; lvs; systemctl --failed")
        # What was made durable before the cut is there.
        assert fresh.python("xen01", "writer.py", "check", "/dev/vg_guests/work", str(durable)) == f"ok {durable}"
        for finished in [pool.submit(fresh.finish, point) for point in points]:
            finished.result()
    for point in points:
        fresh.holds(point.host, *point.holds)
    assert {host: fresh.mark(host) for host in HOSTS} == fresh.marks
    for host in HOSTS:
        # batch01 is not to start with its host.
        for guest in sorted(set(fresh.on(host)) - {"batch01"}):
            fresh.wait(host, f"xl list {guest}", 240, "xl list; systemctl status --no-pager xendomains")
