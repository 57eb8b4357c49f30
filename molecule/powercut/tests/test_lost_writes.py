# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A power cut that takes with it what disks were not told to make durable: the host boots, the next run finishes."""
from __future__ import annotations

import dataclasses
import random

import pytest

from tests.lab.hands import ROUNDS, Point
from tests.lab.powercut import HOST, Host

PROVISION = "playbooks/provision.yml"
# On this disk something is written that nobody makes durable.
LOST = "/dev/disk/by-id/virtio-XF1D6"
KEPT_FILE = "/root/durable"

NETWORK = (
    "test -d /sys/class/net/xenbr0/brif/bond0",
    "ip -4 addr show dev xenbr0 | grep -q 10.0.2.15/24",
    "! test -e /etc/systemd/network/05-lab-management.network",
    "test -e /var/lib/xenfold/network/confirmed",
    "! test -e /var/lib/xenfold/network/armed",
    "! test -e /var/lib/xenfold/network/restoring",
    "! test -e /etc/systemd/system/xenfold-network-boot.service",
)
STORAGE = (
    "test $(grep -c '^ARRAY /dev/md/guests ' /etc/mdadm/mdadm.conf) = 1",
    "mdadm --detail /dev/md/guests | grep -q 'Active Devices : 4'",
    "! grep -q inactive /proc/mdstat",
    "vgs --noheadings -o pv_name vg_guests | grep -q /dev/md",
    ('for image in /boot/initrd.img-*; do test ! -e "$image" || { test -s "$image" && test "$image" -nt /etc/mdadm/mdadm.conf; } || exit 1;'
     " done"),
)
POINTS = {
    "array": Point("storage", HOST, PROVISION, {}, "pgrep -f '[m]dadm --create'", STORAGE, words=("--tags", "storage")),
    # The guard has just been armed and the new files are being written.
    "network": Point("network", HOST, PROVISION, {}, "test -e /var/lib/xenfold/network/armed", NETWORK, words=("--tags", "network")),
    # The array is there, the host's own files on it are not.
    "initramfs": Point("storage", HOST, PROVISION, {}, "pgrep -f '[u]pdate-initramfs'", STORAGE, words=("--tags", "storage")),
}


def fill(letter: str, durable: bool) -> str:
    """Shell that writes a block to the disk itself, past all caches of the host, and flushes it or not."""
    return (f"head -c 4096 /dev/zero | tr '\\0' {letter} | dd of={LOST} bs=4096 iflag=fullblock oflag=direct status=none"
            f"{' conv=fsync' if durable else ''}")


def lose_and_finish(host: Host, point: Point, seed: int | None = None, then: tuple[str, ...] | None = None) -> None:
    """Cut the power at the point. What was durable is there, what was not is gone (without a seed), and the next run finishes.

    then: the words of the runs after the cut when they are not those of the run that was cut off.
    """
    host.start_writer(HOST)
    host.run(HOST, f"echo kept > {KEPT_FILE} && sync {KEPT_FILE} /root && {fill('A', True)} && {fill('B', False)}")
    durable = host.written(HOST)
    host.lose_power(point, seed)

    assert host.python(HOST, "writer.py", "check", host.work, str(durable)) == f"ok {durable}"
    assert host.run(HOST, f"cat {KEPT_FILE}") == "kept"
    found = host.run(HOST, f"head -c 4096 {LOST} | tr -s AB")
    assert found == "A" if seed is None else found in ("A", "B")
    host.finish(dataclasses.replace(point, words=point.words if then is None else then))
    host.holds(HOST, *point.holds)


def test_an_array_that_was_being_created_is_finished(bare: Host) -> None:
    lose_and_finish(bare, POINTS["array"])


def test_a_network_that_was_being_written_is_finished_and_so_is_the_host(bare: Host) -> None:
    lose_and_finish(bare, POINTS["network"], then=())
    bare.holds(HOST, *STORAGE)


@pytest.mark.skipif(ROUNDS < 2, reason="repeated: make lab-soak")
@pytest.mark.parametrize("number", range(1, ROUNDS))
@pytest.mark.parametrize("name", sorted(POINTS))
def test_a_disk_may_keep_some_of_what_was_not_flushed(bare: Host, name: str, number: int) -> None:
    delay = random.Random(f"{name}/{number}").uniform(0, 5)
    lose_and_finish(bare, dataclasses.replace(POINTS[name], delay_seconds=delay), seed=number)
