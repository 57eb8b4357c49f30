# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lab import qemu
from lab.qemu import Disk, Machine
from lab.spec import Spec
from lab.state import first_disks


def machine(number: int = 1, accel: str = "tcg", **shape: object) -> Machine:
    spec = Spec(**shape)  # type: ignore[arg-type]
    links = tuple((22000 + k, 22100 + k) for k in range(spec.data_nics))
    return Machine(spec, number, accel, 22022, links, tuple(first_disks(spec, f"xen{number:02d}")))


def words(made: Machine, loadvm: str | None = None) -> list[str]:
    return qemu.command(made, Path("/run/folder/pid"), loadvm)


def values(line: list[str], option: str) -> list[str]:
    return [line[index + 1] for index, word in enumerate(line) if word == option]


def test_a_xen_host_boots_xen_itself_and_reaches_nothing() -> None:
    line = words(machine(2))
    assert values(line, "-kernel") == ["xen"]
    assert "dom0_mem=896M,max:896M dom0_max_vcpus=1" in values(line, "-append")[0]
    assert values(line, "-initrd")[0].startswith("vmlinux root=/dev/vda ")
    assert values(line, "-initrd")[0].endswith(" lab.host=xen02,initrd.img")
    assert [text for text in values(line, "-netdev") if text.startswith("user")] == [
        "user,id=m0,hostfwd=tcp:127.0.0.1:22022-:22,restrict=on"
    ]


def test_a_plain_host_boots_from_its_disk_and_may_reach_out() -> None:
    assert "-bios" not in words(machine(kind="plain"))
    assert values(words(machine(kind="uefi")), "-bios") == ["/usr/share/ovmf/OVMF.fd"]
    line = words(machine(kind="plain"))
    assert not set(line) & {"-kernel", "-append", "-initrd", "-no-reboot"}
    assert "restrict=on" not in " ".join(line)
    assert "serial=xen01" in values(line, "-smbios")[0]


def test_the_cpu_lacks_what_emulated_xen_stumbles_over() -> None:
    removed = values(words(machine()), "-cpu")[0].split(",")
    assert {"-smap", "-monitor", "-rdtscp", "-xsave", "-avx"} <= set(removed)
    assert values(words(machine(accel="kvm")), "-cpu") == ["host"]


def test_a_host_can_have_less_of_a_cpu_than_the_others() -> None:
    less = dataclasses.replace(machine(), without=("bmi2", "sha-ni"))
    assert values(words(less), "-cpu") == [f"{qemu.TCG_CPU},-bmi2,-sha-ni"]


def test_data_nics_have_a_speed_and_the_address_of_their_place() -> None:
    nics = [text for text in values(words(machine(2, data_nics=3)), "-device") if text.startswith("virtio-net")]
    assert [text.split("mac=")[1][:17] for text in nics] == [f"52:54:00:00:02:0{k}" for k in range(4)]
    assert ["speed=1000,duplex=full" in text for text in nics] == [False, True, True, True]
    places = [int(text.rsplit("addr=", 1)[1], 16) for text in nics]
    assert places == sorted(places)


def test_links_go_to_the_other_end() -> None:
    line = words(machine(data_nics=2))
    assert "socket,id=n2,udp=127.0.0.1:22101,localaddr=127.0.0.1:22001" in values(line, "-netdev")


def test_two_management_nics_meet_in_a_hub() -> None:
    line = words(machine(management_nics=2))
    assert len([text for text in values(line, "-netdev") if text.startswith("hubport")]) == 3
    last = [text for text in values(line, "-device") if text.startswith("virtio-net")][-1]
    assert "netdev=m1" in last and "mac=52:54:00:00:01:10" in last
    assert [nic.interface for nic in qemu.nics_of(Spec(management_nics=2), 1)] == ["eth0", "eth1", "eth2", "eth3"]


def test_each_disk_has_a_port_of_its_own_and_a_serial() -> None:
    devices = values(words(machine(2, data_disks=3)), "-device")
    for bay in (1, 2, 3):
        assert any(text.startswith(f"pcie-root-port,id=rp{bay},") for text in devices)
        assert f"virtio-blk-pci,drive=d{bay},id=disk{bay},bus=rp{bay},serial=XF2D{bay}" in devices


def test_a_pulled_disk_leaves_its_port_in_place() -> None:
    full = machine()
    pulled = Machine(full.spec, 1, "tcg", 22022, full.links, tuple(disk for disk in full.disks if disk.bay != 2))
    devices = values(words(pulled), "-device")
    assert any(text.startswith("pcie-root-port,id=rp2,") for text in devices)
    assert not any("serial=XF1D2" in text for text in devices)


@pytest.mark.parametrize("shape", [{}, {"data_nics": 6, "data_disks": 15, "management_nics": 2}, {"kind": "plain"},
                                   {"kind": "uefi"}, {"iommu": True, "data_nics": 6, "data_disks": 15, "management_nics": 2}])
def test_no_two_devices_share_an_id_or_a_place(shape: dict[str, object]) -> None:
    devices = [text.split(",") for text in values(words(machine(**shape)), "-device")]
    for key in ("id=", "addr="):
        found = [part for device in devices for part in device if part.startswith(key)]
        assert len(found) == len(set(found))
    slots = [int(part[5:], 16) for device in devices for part in device if part.startswith("addr=")]
    # 0x1f holds the board's own bridge.
    assert max(slots) < 0x1F


def test_an_iommu_is_there_before_the_devices_whose_dma_goes_through_it() -> None:
    devices = values(words(machine(iommu=True)), "-device")
    assert devices[0] == "amd-iommu"
    virtio = [device for device in devices if device.startswith("virtio-")]
    assert all("iommu_platform=on,disable-legacy=on" in device for device in virtio)
    spare = [device for device in virtio if "id=spare" in device]
    assert len(spare) == 1 and f"addr={int(qemu.SPARE_ADDRESS[8:10], 16):#x}," in spare[0]
    plugged = qemu.device_arguments(Disk(2, "disk2-1.qcow2", "NEW"), Spec(iommu=True))
    assert (plugged["iommu_platform"], plugged["disable-legacy"]) == (True, "on")
    assert "iommu" not in " ".join(words(machine())) and "iommu_platform" not in qemu.device_arguments(Disk(2, "d", "N"), Spec())


def test_a_saved_state_is_loaded_paused() -> None:
    assert words(machine(), "bare")[-3:] == ["-loadvm", "bare", "-S"]
    assert "-loadvm" not in words(machine())


def test_all_but_the_pid_file_is_relative_to_the_folder() -> None:
    assert [word for word in words(machine()) if "/run/folder" in word] == ["/run/folder/pid"]


def test_a_new_disk_in_a_bay_has_a_drive_name_of_its_own() -> None:
    old, new = Disk(2, "disk2.qcow2", "XF1D2"), Disk(2, "disk2-1.qcow2", "XF1D2R1")
    assert (old.drive, new.drive) == ("d2", "d2r1")
    assert old.device == new.device == "disk2"
    assert qemu.drive_options(new, Spec(), Path("/a,b")).startswith("file=/a,,b/disk2-1.qcow2,")


def test_logged_writes_pass_a_filter_below_qcow2_that_sees_flushes() -> None:
    drives = values(words(machine(log_writes=True)), "-drive")
    assert [text.split("file.file.filename=")[1].split(",")[0] for text in drives] == [
        "root.qcow2", "disk1.qcow2", "disk2.qcow2", "disk3.qcow2", "disk4.qcow2"
    ]
    for text in drives:
        # `cache=unsafe` keeps flushes from whatever is below it.
        assert text.startswith("driver=qcow2,") and "cache=unsafe" not in text and "discard" not in text
        assert "file.driver=blklogwrites" in text and ",file.log.filename=writes/" in text
    assert not any("blklogwrites" in text for text in values(words(machine()), "-drive"))
    added = qemu.drive_options(Disk(2, "disk2-1.qcow2", "NEW"), Spec(log_writes=True), Path("/a,b"))
    assert "file.file.filename=/a,,b/disk2-1.qcow2," in added and "file.log.filename=/a,,b/writes/disk2-1.qcow2.log," in added
