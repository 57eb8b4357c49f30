#!/usr/bin/python3
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Takes in the disks of a guest that moves here while it is down: the forced command of a peer's key, volume_receive.py PEER.

It hashes and writes volumes that are tagged as being filled for the guest that the peer names, by that peer, and marks them as complete
when it has read them as the peer did; nothing else. Carried to the hosts as it stands, with the standard library alone.

A request is a letter, the number of the volume, an offset and a length in bytes (`REQUEST`), and for some the bytes themselves:
H: hashes of blocks; W: write a block; Z: write zeroes; S: all is on the disks; C: complete, with the hash of each volume. W and Z have no
answer. An answer is `=`, a length, and bytes; or `!` and a text, after which it ends.
"""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import mmap
import os
import re
import select
import stat
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

BLOCK = 4 * 2**20
MOST_BLOCKS = 64
"""For how many blocks one request may ask."""
DIGEST_BYTES = 32
REQUEST = struct.Struct(">cHQI")
ANSWER = struct.Struct(">cI")
READY = "xenfold volume receiver ready"
FILLING, COMPLETE = "xenfold.coming", "xenfold.complete"
SUFFIX = ".coming"
DEVICES, LOCKS = "/dev", "/run/xenfold/receiving"
IDLE_SECONDS = 600
"""A sender that is gone without a word frees its guest after that."""

_GUEST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class Refusal(Exception):
    """What is not done, and why."""


class Disk:
    """A volume, past the page cache: what a guest writes does not come by there, so what lies in it may be old."""

    def __init__(self, path: str, writable: bool = False) -> None:
        block = stat.S_ISBLK(os.stat(path).st_mode)
        # O_EXCL: nothing of this host may have it mounted or in an array.
        flags = (os.O_RDWR | os.O_EXCL if writable and block else os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
        self.descriptor = os.open(path, flags | (os.O_DIRECT if block else 0))
        self.size = os.lseek(self.descriptor, 0, os.SEEK_END)
        # The kernel wants whole pages.
        self.buffer = memoryview(mmap.mmap(-1, BLOCK))

    def read(self, offset: int, length: int) -> memoryview:
        """Bytes that are good until the next call."""
        done = 0
        while done < length:
            count = os.preadv(self.descriptor, [self.buffer[done:length]], offset + done)
            if count == 0:
                raise OSError(f"the volume ends at {offset + done}, {length - done} bytes before it should")
            done += count
        return self.buffer[:length]

    def write(self, offset: int, length: int) -> None:
        """The first bytes of the buffer."""
        done = 0
        while done < length:
            done += os.pwritev(self.descriptor, [self.buffer[done:length]], offset + done)

    def sync(self) -> None:
        os.fsync(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)


def digest(data: Any) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def rows(report: str) -> list[dict[str, str]]:
    """The rows of `lvs --reportformat json`."""
    found: list[dict[str, str]] = json.loads(report)["report"][0]["lv"]
    return found


def run(argv: Sequence[str]) -> str:
    """What a command prints. Raises Refusal when it fails."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env={**os.environ, **_ENVIRONMENT})
    if done.returncode:
        raise Refusal(f"'{' '.join(argv)}' failed with return code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def tag_of(kind: str, guest: str, peer: str) -> str:
    return f"{kind}={guest}:{peer}"


def is_arrival_tag(tag: str) -> bool:
    """Whether a volume loses the tag when its guest runs from it."""
    return tag.startswith((f"{COMPLETE}=", f"{FILLING}="))


def volumes_of(guest: str, peer: str) -> list[dict[str, Any]]:
    """The volumes that are being filled here for a guest by a peer, in the order of their names."""
    report = run(["lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", "vg_name,lv_name,lv_size,lv_tags"])
    found = [{"volume_group": row["vg_name"], "name": row["lv_name"], "size_bytes": int(row["lv_size"])} for row in rows(report)
             if row["lv_name"].endswith(SUFFIX) and tag_of(FILLING, guest, peer) in row["lv_tags"].split(",")]
    return sorted(found, key=lambda volume: (volume["volume_group"], volume["name"]))


class Session:
    """One sender's requests."""

    def __init__(self, guest: str, peer: str, volumes: Sequence[Mapping[str, Any]], source: BinaryIO, answers: BinaryIO) -> None:
        self.guest, self.peer, self.volumes = guest, peer, volumes
        self.source, self.answers = source, answers
        self.disks = [Disk(f"{DEVICES}/{volume['volume_group']}/{volume['name']}", writable=True) for volume in volumes]
        # Of each volume: the hash of what was read in one go from its beginning, and how far that is; a write begins anew.
        self.roots = [(hashlib.blake2b(digest_size=DIGEST_BYTES), 0) for _disk in self.disks]

    def answer(self, data: bytes = b"") -> None:
        self.answers.write(ANSWER.pack(b"=", len(data)) + data)
        self.answers.flush()

    def take(self, into: memoryview) -> bool:
        """Fill the memory; False at the end of the stream. Raises Refusal in the middle of a request, and when nothing comes."""
        done = 0
        while done < len(into):
            ready, _write, _error = select.select([self.source], [], [], IDLE_SECONDS)
            if not ready:
                raise Refusal(f"nothing came for {IDLE_SECONDS} s")
            count = self.source.readinto(into[done:])  # type: ignore[attr-defined]
            if not count:
                if done:
                    raise Refusal("the stream ended in the middle of a request")
                return False
            done += count
        return True

    def serve(self) -> None:
        """Until the stream ends, or all is complete."""
        header = memoryview(bytearray(REQUEST.size))
        while self.take(header):
            verb, number, offset, length = REQUEST.unpack(header)
            if verb == b"S":
                for disk in self.disks:
                    disk.sync()
                self.answer()
            elif verb == b"C":
                self.complete(length)
                return
            elif verb in (b"H", b"W", b"Z"):
                self.blocks(verb, number, offset, length)
            else:
                raise Refusal(f"request {verb!r}: allowed H, W, Z, S and C")

    def blocks(self, verb: bytes, number: int, offset: int, length: int) -> None:
        most = BLOCK * (MOST_BLOCKS if verb == b"H" else 1)
        if number >= len(self.disks):
            raise Refusal(f"volume {number}: allowed 0 to {len(self.disks) - 1}")
        disk = self.disks[number]
        if offset % BLOCK or not 0 < length <= most or offset + length > disk.size:
            raise Refusal(f"{length} bytes at {offset}: allowed are up to {most}, at whole blocks, within {disk.size}")
        if verb == b"H":
            self.answer(b"".join(self.hashed(number, at, min(BLOCK, offset + length - at)) for at in range(offset, offset + length, BLOCK)))
            return
        self.roots[number] = (hashlib.blake2b(digest_size=DIGEST_BYTES), 0)
        if verb == b"Z":
            disk.buffer[:length] = bytes(length)
        elif not self.take(disk.buffer[:length]):
            raise Refusal("the stream ended before a block")
        disk.write(offset, length)

    def hashed(self, number: int, offset: int, length: int) -> bytes:
        found = digest(self.disks[number].read(offset, length))
        root, end = self.roots[number]
        if offset != end:
            root, end = hashlib.blake2b(digest_size=DIGEST_BYTES), 0
        if offset == end:
            root.update(found)
            end += length
        self.roots[number] = (root, end)
        return found

    def complete(self, length: int) -> None:
        """Mark all volumes as complete. The sender's hash of each has to be that of what was read here, after the last write."""
        if length != DIGEST_BYTES * len(self.disks):
            raise Refusal(f"{length} bytes of hashes: allowed {DIGEST_BYTES * len(self.disks)}")
        told = memoryview(bytearray(length))
        if not self.take(told):
            raise Refusal("the stream ended before the hashes")
        for number, (disk, volume, (root, end)) in enumerate(zip(self.disks, self.volumes, self.roots, strict=True)):
            wanted = told[number * DIGEST_BYTES:(number + 1) * DIGEST_BYTES]
            if end != disk.size or root.digest() != wanted:
                raise Refusal(f"volume {volume['volume_group']}/{volume['name']}: is not equal to that of the sender")
            disk.sync()
        for disk in self.disks:
            disk.close()
        for volume in self.volumes:
            run(["lvchange", "--addtag", tag_of(COMPLETE, self.guest, self.peer), "--deltag", tag_of(FILLING, self.guest, self.peer),
                 f"{volume['volume_group']}/{volume['name']}"])
        self.answer()


def serve(guest: str, peer: str, source: BinaryIO, answers: BinaryIO) -> None:
    """One session, alone: what an older one still has under way would be written over what is complete by then."""
    os.makedirs(LOCKS, mode=0o700, exist_ok=True)
    with open(f"{LOCKS}/{guest}", "a", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refusal(f"guest {guest!r}: another sender fills its volumes; wait {IDLE_SECONDS} s when that one is gone") from None
        volumes = volumes_of(guest, peer)
        if not volumes:
            raise Refusal(f"guest {guest!r}: no volume here is tagged as being filled for it by {peer}")
        session = Session(guest, peer, volumes, source, answers)
        session.answer(json.dumps(volumes).encode())
        session.serve()


def main(argv: Sequence[str], asked: str, source: BinaryIO, answers: BinaryIO) -> int:
    """argv: the name of the peer, from authorized_keys; asked: what it wants, `ready` or `fill GUEST`."""
    try:
        words = asked.split(" ")
        if len(argv) != 2 or not _HOST.fullmatch(argv[1]):
            raise Refusal("usage: volume_receive.py PEER")
        if words == ["ready"]:
            answers.write(f"{READY}\n".encode())
            answers.flush()
            return 0
        if len(words) != 2 or words[0] != "fill" or not _GUEST.fullmatch(words[1]) or "--" in words[1]:
            raise Refusal(f"{asked!r}: allowed 'ready', and 'fill' with the name of a guest")
        serve(words[1], argv[1], source, answers)
        return 0
    except (Refusal, OSError, ValueError) as error:
        text = str(error).encode()
        with contextlib.suppress(OSError):
            answers.write(ANSWER.pack(b"!", len(text)) + text)
            answers.flush()
        return 1


if __name__ == "__main__":
    with open(0, "rb", buffering=0) as stream:
        sys.exit(main(sys.argv, os.environ.get("SSH_ORIGINAL_COMMAND", ""), stream, sys.stdout.buffer))
