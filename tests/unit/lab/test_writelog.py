# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from lab import writelog
from lab.errors import LabError
from lab.requirements import find_program
from lab.writelog import DISCARD, FLUSH, Entry, HoleError, flushed, read_log, replay

SIZE, SECTOR = 2**20, 512
WITH_QEMU = pytest.mark.skipif(find_program("qemu-io") is None, reason="qemu-utils is not installed")


def written(folder: Path, *commands: str) -> tuple[Path, Path]:
    """A raw file of zeros to which QEMU does what it is told until it is killed, and the log of that."""
    file, log = folder / "file", folder / "log"
    with file.open("wb") as stream:
        stream.truncate(SIZE)
    log.touch()
    options = f"driver=blklogwrites,discard=unmap,file.driver=file,file.filename={file},log.driver=file,log.filename={log}"
    words = [word for command in (*commands, "sigraise 9") for word in ("-c", command)]
    line = ["qemu-io", "-t", "writeback", "--image-opts", options, *words]
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == -9 and b"failed" not in done.stdout, done.stdout
    return file, log


def after_cut(folder: Path, log: Path) -> bytes:
    target = folder / "target"
    target.write_bytes(bytes(SIZE))
    entries = read_log(log)
    replay(log, entries[: flushed(entries)], target)
    return target.read_bytes()


@WITH_QEMU
@pytest.mark.parametrize(
    ("commands", "kept"),
    [
        (("write -P 1 0 4k", "flush", "write -P 2 4k 4k"), b"\1" * 4096 + bytes(4096)),
        (("write -P 1 0 4k", "flush", "write -P 2 0 4k"), b"\1" * 4096),
        (("write -P 1 0 4k",), bytes(4096)),
        (("write -P 1 0 4k", "write -f -P 2 4k 4k", "write -P 3 0 512"), b"\1" * 4096 + b"\2" * 4096),
        (("write -P 1 0 8k", "write -z 512 1k", "flush", "write -z 0 4k"), b"\1" * 512 + bytes(1024) + b"\1" * 6656),
        (("write -P 1 0 8k", "discard 4k 4k", "flush", "discard 0 4k"), b"\1" * 4096 + bytes(4096)),
        (("flush", "flush"), bytes(4096)),
        (("write -P 7 512 1047040", "flush"), bytes(512) + b"\7" * 1047040 + bytes(1024)),
    ],
)
def test_what_was_flushed_outlives_the_cut_and_nothing_else(tmp_path: Path, commands: tuple[str, ...], kept: bytes) -> None:
    _, log = written(tmp_path, *commands)
    assert after_cut(tmp_path, log)[: len(kept)] == kept


@WITH_QEMU
def test_all_that_is_logged_makes_the_file_that_qemu_wrote(tmp_path: Path) -> None:
    commands = [f"write -P {number} {number * 3072} {number * 512}" for number in range(1, 60)]
    commands[10:10] = ["flush", "discard 0 64k", "write -z 100k 20k"]
    file, log = written(tmp_path, *commands)
    target = tmp_path / "target"
    target.write_bytes(bytes(SIZE))
    replay(log, read_log(log), target)
    assert target.read_bytes() == file.read_bytes() != bytes(SIZE)


def superblock(counted: int, magic: int = 0x6A736677736872, version: int = 1) -> bytes:
    return struct.pack("<QQQI", magic, version, counted, SECTOR).ljust(SECTOR, b"\0")


def entry(sector: int, sectors: int, flags: int = 0, data: bytes = b"") -> bytes:
    return struct.pack("<QQQQ", sector, sectors, flags, 0).ljust(SECTOR, b"\0") + data


BLOCK = b"a" * SECTOR


def test_what_the_superblock_does_not_count_yet_is_read_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(superblock(2) + entry(3, 1, data=BLOCK) + entry(0, 0, FLUSH) + entry(4, 9, DISCARD) + entry(0, 1, data=BLOCK))
    entries = read_log(log)
    assert entries == [
        Entry(1536, 512, 0, 1024), Entry(0, 0, FLUSH, 2048), Entry(2048, 4608, DISCARD, 2560), Entry(0, 512, 0, 3072),
    ]
    assert flushed(entries) == 2


@pytest.mark.parametrize("start", [b"", bytes(SECTOR), bytes(SECTOR) + entry(0, 1, data=BLOCK)])
def test_without_a_flush_nothing_is_durable(tmp_path: Path, start: bytes) -> None:
    log = tmp_path / "log"
    log.write_bytes(start)
    assert len(read_log(log)) == max(0, len(start) // SECTOR - 2)
    assert flushed(read_log(log)) == 0


@pytest.mark.parametrize(
    "missing",
    [
        entry(0, 0) + BLOCK + entry(0, 0, FLUSH),
        entry(3, 1, data=BLOCK),
        entry(3, 1, data=BLOCK) + entry(3, 2, data=BLOCK),
        b"",
    ],
)
def test_a_hole_among_what_is_counted_is_told(tmp_path: Path, missing: bytes) -> None:
    log = tmp_path / "log"
    log.write_bytes(superblock(2) + missing)
    with pytest.raises(HoleError, match=r"log: entry \d of 2 is not whole"):
        read_log(log)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (superblock(1, magic=1), "no log of writes: magic 0x1, version 1"),
        (superblock(1, version=2), "no log of writes: magic 0x6a736677736872, version 2"),
        (superblock(1) + entry(0, 1, 8, BLOCK), "entry 0 has flags 0x8, which are unknown"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    log = tmp_path / "log"
    log.write_bytes(data)
    with pytest.raises(LabError, match=message):
        read_log(log)


def test_long_writes_are_replayed_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writelog, "_CHUNK", 1000)
    log, target = tmp_path / "log", tmp_path / "target"
    data = bytes(range(256)) * 8
    log.write_bytes(superblock(1) + entry(1, 4, data=data))
    target.write_bytes(b"x" * 512)
    replay(log, read_log(log), target)
    assert target.read_bytes() == b"x" * 512 + data
