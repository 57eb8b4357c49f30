# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs on a host: puts something on spare disks that must not be lost, and tells the bytes at the disks' edges.

    disks.py fill GUEST KIND=SERIAL...    KIND: ext4, lvm, md, swap, gpt, mounted, guest; GUEST: a running guest
    disks.py edges SERIAL...              JSON: serial -> SHA-256 of the first and of the last MiB
"""
from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
import uuid
import zlib

MIB = 2**20
SECTOR = 512
FIRST_SECTOR = 2048
MOUNT_POINT = "/mnt/faults"
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")


def path_of(serial: str) -> str:
    return f"/dev/disk/by-id/virtio-{serial}"


def run(*words: str) -> None:
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.returncode}: {done.stdout.strip()}")


def put(path: str, offset: int, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY)
    os.pwrite(handle, data, offset)
    os.fsync(handle)
    os.close(handle)


def size_of(path: str) -> int:
    with open(path, "rb") as stream:
        return stream.seek(0, os.SEEK_END)


def mbr_entry(kind: int, first: int, sectors: int) -> bytes:
    """An MBR with one partition, without code."""
    entry = struct.pack("<B3sB3sII", 0, b"\xff\xff\xff", kind, b"\xff\xff\xff", first, sectors)
    return b"\0" * 446 + entry + b"\0" * 48 + b"\x55\xaa"


def gpt(path: str) -> None:
    """A GPT with one partition over the whole disk. Source: UEFI specification 2.10, chapter 5."""
    last = size_of(path) // SECTOR - 1
    entry = struct.pack("<16s16sQQQ72s", LINUX.bytes_le, uuid.uuid5(LINUX, path).bytes_le, FIRST_SECTOR, last - 34, 0,
                        "faults".encode("utf-16-le"))
    entries = entry.ljust(128 * 128, b"\0")

    def header(own: int, other: int, table: int) -> bytes:
        def pack(checksum: int) -> bytes:
            return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, checksum, 0, own, other, 34, last - 33,
                               uuid.uuid5(LINUX, "disk").bytes_le, table, 128, 128, zlib.crc32(entries))
        return pack(zlib.crc32(pack(0))).ljust(SECTOR, b"\0")

    put(path, 0, mbr_entry(0xEE, 1, last) + header(1, last, 2) + entries)
    put(path, (last - 32) * SECTOR, entries + header(last, 1, last - 32))
    run("blockdev", "--rereadpt", path)


def mounted(path: str) -> None:
    put(path, 0, mbr_entry(0x83, FIRST_SECTOR, size_of(path) // SECTOR - FIRST_SECTOR))
    run("blockdev", "--rereadpt", path)
    run("udevadm", "settle")
    part = f"{os.path.realpath(path)}1"
    run("mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0", part)
    os.makedirs(MOUNT_POINT, exist_ok=True)
    run("mount", part, MOUNT_POINT)


def fill(guest: str, kind: str, path: str) -> None:
    if kind == "ext4":
        run("mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0", path)
    elif kind == "lvm":
        # The host's own filter is not what is looked at here.
        run("pvcreate", "-q", "--yes", "--config", 'devices { global_filter = [ "a|.*|" ] use_devicesfile = 0 }', path)
    elif kind == "md":
        # Complete with one disk: whether udev assembles it again or not, it is at rest.
        run("mdadm", "--create", "/dev/md/foreign", "--run", "--force", "--level=1", "--metadata=1.2", "--homehost=elsewhere",
            "--raid-devices=1", path)
        run("udevadm", "settle")
        run("mdadm", "--stop", "/dev/md/foreign")
    elif kind == "swap":
        run("mkswap", path)
    elif kind == "gpt":
        gpt(path)
    elif kind == "mounted":
        mounted(path)
    elif kind == "guest":
        put(path, 0, hashlib.sha256(path.encode()).digest() * 128)
        run("xl", "block-attach", guest, f"format=raw,vdev=xvdb,access=rw,target={path}")
    else:
        sys.exit(f"kind {kind!r}: allowed: ext4, lvm, md, swap, gpt, mounted, guest")
    run("udevadm", "settle")


def edges(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for offset in (0, size_of(path) - MIB):
            stream.seek(offset)
            digest.update(stream.read(MIB))
    return digest.hexdigest()


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        for pair in sys.argv[3:]:
            name, _, serial = pair.partition("=")
            fill(sys.argv[2], name, path_of(serial))
        os.sync()
    else:
        os.sync()
        print(json.dumps({serial: edges(path_of(serial)) for serial in sys.argv[2:]}))
