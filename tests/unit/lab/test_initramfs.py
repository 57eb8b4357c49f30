# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from lab import initramfs
from lab.errors import LabError

DEPENDENCIES = """\
kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko
kernel/lib/crc16.ko:
kernel/fs/mbcache.ko:
kernel/fs/jbd2/jbd2.ko:
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/net/xen-netfront.ko:
"""


def entries(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """A reader of its own for the newc format: name -> (mode, data)."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * k : at + 14 + 8 * k], 16) for k in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        at += (110 + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[at : at + size])
        at += (size + 3) // 4 * 4


def test_modules_come_after_what_they_need() -> None:
    order = initramfs.load_order(["ext4", "virtio_blk", "xen-netfront"], DEPENDENCIES, "")
    assert sorted(order) == sorted(line.split(":")[0] for line in DEPENDENCIES.splitlines())
    for line in DEPENDENCIES.splitlines():
        file, _, needs = line.partition(":")
        assert all(order.index(need) < order.index(file) for need in needs.split())


def test_what_is_built_in_needs_no_file() -> None:
    assert initramfs.load_order(["xen_blkfront"], "", "kernel/drivers/block/xen-blkfront.ko\n") == []
    with pytest.raises(LabError, match="kernel module zfs"):
        initramfs.load_order(["zfs"], DEPENDENCIES, "")


def test_the_archive_reads_back() -> None:
    cpio = initramfs.Cpio()
    cpio.file("a/b/file", b"12345", 0o755)
    cpio.file("a/b/other", b"")
    cpio.link("bin/sh", "busybox")
    cpio.device("dev/console", 5, 1)
    assert entries(cpio.archive()) == {
        "a": (0o040755, b""),
        "a/b": (0o040755, b""),
        "a/b/file": (0o100755, b"12345"),
        "a/b/other": (0o100644, b""),
        "bin/sh": (0o120777, b"busybox"),
        "dev": (0o040755, b""),
        "dev/console": (0o020600, b""),
    }
    assert cpio.archive() == cpio.archive()


def unpacked_debian(root: Path) -> None:
    folder = root / "lib" / "modules" / "6.1.0-1-amd64"
    for line in DEPENDENCIES.splitlines():
        path = folder / line.split(":")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.compress(b"module") if path.suffix == ".xz" else b"module")
    (folder / "modules.dep").write_text(DEPENDENCIES)
    (folder / "modules.builtin").write_text("")
    (root / "bin").mkdir()
    (root / "bin" / "busybox").write_bytes(b"busybox")


def test_an_initial_file_system_holds_modules_uncompressed_in_order(tmp_path: Path) -> None:
    unpacked_debian(tmp_path)
    found = entries(initramfs.build(tmp_path, ["virtio_blk"], b"#!/bin/sh\n"))
    assert found["modules/order"][1] == b"virtio_ring\nvirtio\nvirtio_blk\n"
    assert found["modules/virtio_blk.ko"][1] == b"module"
    assert found["init"] == (0o100755, b"#!/bin/sh\n")


def test_the_kernel_is_found_inside_vmlinuz(tmp_path: Path) -> None:
    unpacked_debian(tmp_path)
    (tmp_path / "boot").mkdir()
    vmlinuz = tmp_path / "boot" / "vmlinuz-6.1.0-1-amd64"
    vmlinuz.write_bytes(b"loader" + lzma.compress(b"\x7fELF kernel") + b"tail")
    assert initramfs.vmlinux(tmp_path, tmp_path) == b"\x7fELF kernel"
    vmlinuz.write_bytes(b"loader" + lzma.compress(b"no kernel"))
    with pytest.raises(LabError, match="no ELF"):
        initramfs.vmlinux(tmp_path, tmp_path)
    vmlinuz.write_bytes(b"loader")
    with pytest.raises(LabError, match="neither by xz nor by zstd"):
        initramfs.vmlinux(tmp_path, tmp_path)
