# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Arrays on partitions with a margin: cut off while they are made, disks replaced, grown; what is on them stays as it is.

The tests are one story, in this order.
"""
from __future__ import annotations

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.md.arrays import array_uuid

from tests.lab.hands import Hands, Run

HOST = "xen01"
BY_ID = "/dev/disk/by-id/virtio-"
CUT = {"level": 1, "margin_mib": 100}
VOLUMES = [{"name": "work", "volume_group": "vg_guests", "size_gib": 0.25}]
# A superblock of md as `mdadm --create` leaves it when it is killed before the array starts: its events (byte 200) are 0, so is where
# resync is (byte 208), and the checksum (byte 216) fits. Source: struct mdp_superblock_1 in Linux' include/uapi/linux/raid/md_p.h.
NEVER_STARTED = """
import struct, sys
with open(sys.argv[1], "r+b") as disk:
    disk.seek(4096)
    block = bytearray(disk.read(4096))
    block[200:216], block[216:220] = bytes(16), bytes(4)
    size = 256 + 2 * struct.unpack_from("<I", block, 220)[0]
    total = sum(struct.unpack_from(f"<{size // 4}I", block)) + (struct.unpack_from("<H", block, size - 2)[0] if size % 4 else 0)
    struct.pack_into("<I", block, 216, ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF)
    disk.seek(4096)
    disk.write(block)
"""


def array(name: str, *serials: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, **keys, "members": [{"id": f"virtio-{serial}", "serial": serial} for serial in serials]}


def settings(*arrays: dict[str, Any], groups: tuple[str, ...] = (), grow: tuple[str, ...] = ()) -> dict[str, Any]:
    """groups: arrays that carry a volume group; that of `guests` is vg_guests with the volume `work`."""
    return {
        "storage_arrays": list(arrays),
        "storage_volume_groups": [{"name": f"vg_{name}", "devices": [f"/dev/md/{name}"]} for name in groups],
        "storage_volumes": VOLUMES if "guests" in groups else [],
        "storage_grow": [{"array": name, "confirm": name} for name in grow],
    }


def run(host: Hands, wanted: dict[str, Any], *words: str) -> Run:
    return host.play("playbooks/provision.yml", HOST, ("--tags", "storage", *words), wanted)


def said(done: Run, text: str) -> bool:
    """Whether a text is in the output, which breaks lines where it likes."""
    return "".join(text.split()) in "".join(done.text.split())


def good(host: Hands, wanted: dict[str, Any], *words: str) -> Run:
    done = run(host, wanted, *words)
    assert done.rc == 0, done.text[-6000:]
    return done


def settled(host: Hands, wanted: dict[str, Any]) -> None:
    done = good(host, wanted)
    assert done.changed == {HOST: 0}, done.text[-6000:]


def refused(host: Hands, wanted: dict[str, Any], text: str) -> None:
    done = run(host, wanted)
    assert done.rc != 0 and said(done, text), done.text[-6000:]


def at_rest(host: Hands, name: str, seconds: float = 600) -> None:
    host.wait(HOST, f'test "$(cat /sys/block/$(basename $(readlink -f /dev/md/{name}))/md/sync_action)" = idle', seconds)


def sysfs(name: str, file: str) -> str:
    return f"/sys/block/$(basename $(readlink -f /dev/md/{name}))/md/{file}"


def intact(host: Hands) -> None:
    assert host.run(HOST, "cmp -n 67108864 /root/data /dev/vg_guests/work && echo same") == "same"


def empty(host: Hands, *serials: str) -> None:
    """Disks whose partition no array has any more, as new ones: wipefs leaves most of a GPT and of a bitmap where it was."""
    for serial in serials:
        host.run(HOST, f"d={BY_ID}{serial}; wipefs -q -a $d-part1; wipefs -q -a $d; last=$(($(blockdev --getsize64 $d) / 1048576 - 1));"
                       " for at in 0 1 $last; do dd if=/dev/zero of=$d bs=1M count=1 seek=$at conv=fsync status=none; done;"
                       " udevadm settle; blockdev --rereadpt $d; udevadm settle")
        host.holds(HOST, f"! test -e {BY_ID}{serial}-part1")


def write(host: Hands) -> None:
    host.run(HOST, "dd if=/root/data of=/dev/vg_guests/work bs=1M oflag=direct status=none")


def replace(host: Hands, wanted: dict[str, Any], old: str, new: str) -> None:
    done = host.play("playbooks/replace_disk.yml", HOST, ("-e", f"host={HOST}", "-e", f"serial={old}", "-e", f"new_serial={new}"), wanted,
                     timeout=900, limit=False)
    assert done.rc == 0 and said(done, "holds everything"), done.text[-6000:]
    intact(host)


def test_a_run_cut_off_between_partitions_and_array_is_finished(bare: Hands) -> None:
    wanted = settings(array("cut", "XF1D7", "XF1D8", **CUT))
    shown = good(bare, wanted, "--check", "--diff")
    assert said(shown, "create array /dev/md/cut") and said(shown, "on partitions with a margin of 100 MiB"), shown.text[-6000:]
    wrapper = '#!/bin/sh\ncase $1 in --create) exit 9;; esac\nexec /usr/sbin/mdadm "$@"\n'
    bare.run(HOST, "cat > /usr/local/sbin/mdadm; chmod 755 /usr/local/sbin/mdadm", data=wrapper)
    assert run(bare, wanted).rc != 0
    bare.run(HOST, "rm /usr/local/sbin/mdadm")
    bare.holds(HOST, f"lsblk -no TYPE,PARTUUID {BY_ID}XF1D7 | grep -q 'part .*-'", "! grep -q ^md /proc/mdstat")
    good(bare, wanted)
    bare.holds(HOST, "mdadm --detail /dev/md/cut | grep -q '/dev/vd.1'",
               f"sfdisk -d {BY_ID}XF1D7 | grep -Eq 'start= *2048, size= *3987456, type=A19D880F'")
    settled(bare, wanted)


def test_an_array_on_partitions_is_not_taken_for_one_on_disks(bare: Hands) -> None:
    refused(bare, settings(array("cut", "XF1D7", "XF1D8", level=1)), "it exists on partitions; margin_mib: missing")


def test_an_array_whose_creation_was_killed_is_begun_again(bare: Hands) -> None:
    at_rest(bare, "cut")
    # Of an array that waits, systemd starts after half a minute what is there.
    bare.run(HOST, "systemctl mask --runtime --quiet mdadm-last-resort@.timer")
    # mdadm writes superblock and bitmap of one disk after the other: the second has neither (--zero-superblock would leave the bitmap).
    bare.run(HOST, f"mdadm --stop /dev/md/cut; dd if=/dev/zero of={BY_ID}XF1D8-part1 bs=1M count=2 conv=fsync status=none")
    bare.run(HOST, f"python3 - {BY_ID}XF1D7-part1", data=NEVER_STARTED)
    bare.holds(HOST, f"mdadm --examine --export {BY_ID}XF1D7-part1 | grep -qx MD_EVENTS=0")
    # udev took the first for a disk of an array that waits for the other.
    bare.wait(HOST, "grep -q 'inactive vd.1' /proc/mdstat", 60)
    wanted = settings(array("cut", "XF1D7", "XF1D8", **CUT))
    done = good(bare, wanted, "--diff")
    assert said(done, "begun again after a run that was cut off: XF1D7"), done.text[-6000:]
    bare.run(HOST, "systemctl unmask --runtime --quiet mdadm-last-resort@.timer")
    settled(bare, wanted)


def test_what_keeps_an_array_from_its_work_is_told(bare: Hands) -> None:
    at_rest(bare, "cut")
    wanted = settings(array("cut", "XF1D7", "XF1D8", **CUT))
    bare.run(HOST, f"echo frozen > {sysfs('cut', 'sync_action')}")
    assert said(good(bare, wanted), "no synchronisation begins")
    bare.run(HOST, f"echo idle > {sysfs('cut', 'sync_action')}")
    # A group of the wanted name on another disk.
    bare.run(HOST, f"vgcreate -q -y vg_cut {BY_ID}XF1D4")
    refused(bare, settings(array("cut", "XF1D7", "XF1D8", **CUT), groups=("cut",)), "which its devices do not name, and is not extended")
    bare.run(HOST, f"vgremove -q -y vg_cut; pvremove -q -y {BY_ID}XF1D4;"
                   f" dd if=/dev/zero of={BY_ID}XF1D4 bs=1M count=2 conv=fsync status=none")
    # A disk without which the array went on.
    bare.run(HOST, f"mdadm --stop /dev/md/cut; mdadm --assemble --run /dev/md/cut {BY_ID}XF1D7-part1; for n in 1 2 3 4; do"
                   " dd if=/dev/urandom of=/dev/md/cut bs=1M count=1 conv=fsync status=none; sleep 1; done; mdadm --stop /dev/md/cut")
    refused(bare, wanted, "it left the array, which went on without it")
    bare.run(HOST, "mdadm --stop --scan; true")
    empty(bare, "XF1D7", "XF1D8")


GUESTS = {"level": 5, "margin_mib": 1100}


def test_a_working_a_failed_and_a_gone_disk_are_replaced(bare: Hands) -> None:
    def wanted(*serials: str) -> dict[str, Any]:
        return settings(array("guests", *serials, **GUESTS), groups=("guests",))

    good(bare, wanted("XF1D1", "XF1D2", "XF1D3"))
    settled(bare, wanted("XF1D1", "XF1D2", "XF1D3"))
    at_rest(bare, "guests")
    bare.run(HOST, "dd if=/dev/urandom of=/root/data bs=1M count=64 status=none")
    write(bare)
    # 1 GiB smaller than the others: that is what the margin is for.
    bare.command("pull-disk", HOST, "8")
    bare.command("plug-disk", HOST, "--serial", "XF1N1", "--size-gib", "1")
    replace(bare, wanted("XF1D1", "XF1D2", "XF1D3"), "XF1D1", "XF1N1")
    settled(bare, wanted("XF1N1", "XF1D2", "XF1D3"))
    bare.run(HOST, f"mdadm /dev/md/guests --fail {BY_ID}XF1D2-part1")
    assert said(good(bare, wanted("XF1N1", "XF1D2", "XF1D3")), "/dev/md/guests lacks 1 of its members")
    replace(bare, wanted("XF1N1", "XF1D2", "XF1D3"), "XF1D2", "XF1D7")
    settled(bare, wanted("XF1N1", "XF1D7", "XF1D3"))
    bare.command("pull-disk", HOST, "3")
    write(bare)
    assert said(good(bare, wanted("XF1N1", "XF1D7", "XF1D3")), f"{BY_ID}XF1D3 does not exist")
    bare.command("plug-disk", HOST, "--serial", "XF1N3")
    replace(bare, wanted("XF1N1", "XF1D7", "XF1D3"), "XF1D3", "XF1N3")
    settled(bare, wanted("XF1N1", "XF1D7", "XF1N3"))
    # What the playbook says to do with disks that stay in the host.
    bare.run(HOST, f"mdadm --zero-superblock {BY_ID}XF1D1-part1 {BY_ID}XF1D2-part1")


def test_a_member_more_comes_by_consent_and_a_power_cut_in_the_middle_does_no_harm(bare: Hands) -> None:
    three, four = ("XF1N1", "XF1D7", "XF1N3"), ("XF1N1", "XF1D7", "XF1N3", "XF1D4")
    at_rest(bare, "guests")
    without = settings(array("guests", *four, **GUESTS), groups=("guests",))
    refused(bare, without, "storage_grow: [{array: guests, confirm: guests}]")
    wanted = settings(array("guests", *four, **GUESTS), groups=("guests",), grow=("guests",))
    shown = good(bare, wanted, "--check", "--diff")
    assert said(shown, "grow array /dev/md/guests: from 3 to 4 members"), shown.text[-6000:]
    bare.run(HOST, f"echo 1000 > {sysfs('guests', 'sync_speed_max')}")
    good(bare, wanted)
    bare.holds(HOST, "grep -q reshape /proc/mdstat")
    assert said(good(bare, wanted), "is being reshaped to 4 members")
    intact(bare)
    bare.run(HOST, "sync")
    bare.drop_connections()
    bare.command("power-off", HOST)
    bare.command("power-on", HOST, timeout=600)
    bare.run(HOST, "vgchange -q -ay vg_guests")
    write(bare)
    at_rest(bare, "guests")
    assert bare.run(HOST, f"cat {sysfs('guests', 'reshape_position')}") == "none"
    done = good(bare, wanted, "--diff")
    assert said(done, "grow volume group vg_guests"), done.text[-6000:]
    intact(bare)
    settled(bare, wanted)
    bare.holds(HOST, "mdadm --detail /dev/md/guests | grep -q 'Raid Devices : 4'",
               "mdadm --detail /dev/md/guests | grep -q 'Bitmap : Internal'")
    refused(bare, settings(array("guests", *three, **GUESTS), groups=("guests",), grow=("guests",)), "never shrunk")


def test_larger_disks_are_used_by_consent_and_so_is_the_room_in_the_group(bare: Hands) -> None:
    # An array on a part of its disks, as one is left that was moved to larger ones.
    bare.run(HOST, "mdadm --create /dev/md/two --run --level=1 --raid-devices=2 --metadata=1.2 --name=two --homehost=xen01"
                   f" --uuid={array_uuid(HOST, 'two')} --bitmap=internal --size=512M {BY_ID}XF1D5 {BY_ID}XF1D6; udevadm settle;"
                   " wipefs -q -a /dev/md/two")
    both = (array("guests", "XF1N1", "XF1D7", "XF1N3", "XF1D4", **GUESTS), array("two", "XF1D5", "XF1D6", level=1))
    at_rest(bare, "two")
    done = good(bare, settings(*both, groups=("guests", "two")))
    assert said(done, "of each disk unused, as all of them are larger than it needs"), done.text[-6000:]
    wanted = settings(*both, groups=("guests", "two"), grow=("two",))
    assert said(good(bare, wanted, "--check", "--diff"), "grow array /dev/md/two")
    done = good(bare, wanted, "--diff")
    assert said(done, "grow array /dev/md/two") and said(done, "grow volume group vg_two"), done.text[-6000:]
    at_rest(bare, "two")
    good(bare, wanted)
    bare.holds(HOST, "mdadm --detail /dev/md/two | grep -q 'Bitmap : Internal'")
    settled(bare, wanted)
    # A run that was cut off between array and group.
    bare.run(HOST, "pvresize -q -y --setphysicalvolumesize 600m /dev/md/two")
    assert said(good(bare, wanted, "--diff"), "grow volume group vg_two")
    settled(bare, wanted)
    intact(bare)
