# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small ISO 9660 file system with Joliet names (ECMA-119 and the Joliet specification): a few files in one folder, and the same bytes
for the same files, wherever and whenever it is made."""
from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

SECTOR = 2048
_SYSTEM_AREA = 16
_DATE = bytes([100, 1, 1, 0, 0, 0, 0])
"""2000-01-01 of a directory record: years since 1900, month, day, hour, minute, second, offset from UTC."""
_LONG_DATE = b"2000010100000000\0"
_NO_DATE = b"0" * 16 + b"\0"
_UCS2_LEVEL_3 = b"%/E"
_MOST_FILES = 16
"""Whose records fit into the one sector that a folder has here."""


@dataclass(frozen=True)
class _Tree:
    """One of the two views of the files. kind: of its volume descriptor; l_path, m_path, root: sectors of its tables and its folder."""

    kind: int
    escape: bytes
    l_path: int
    m_path: int
    root: int

    def text(self, text: str, size: int) -> bytes:
        """A text in a field of so many bytes, filled up with blanks."""
        encoded = text.encode("utf-16-be") if self.escape else text.encode("ascii")
        blank = b"\0 " if self.escape else b" "
        return (encoded + blank * size)[:size // len(blank) * len(blank)].ljust(size, b"\0")

    def file_name(self, name: str, number: int) -> bytes:
        """Names of the plain view are 8 capital letters and digits; who reads that one only is told apart by the number."""
        if self.escape:
            return f"{name};1".encode("utf-16-be")
        return f"{''.join(c for c in name.upper() if c.isalnum())[:6]}{number:02d}.;1".encode("ascii")


_PLAIN = _Tree(1, b"", 19, 20, 23)
_JOLIET = _Tree(2, _UCS2_LEVEL_3, 21, 22, 24)
_FIRST_FILE = 25


def image(label: str, files: Mapping[str, bytes]) -> bytes:
    """The file system. label: up to 16 ASCII characters; files: name -> content, at most 16, names of up to 64 characters."""
    if len(files) > _MOST_FILES:
        raise ValueError(f"{len(files)} files, allowed {_MOST_FILES}")
    named = sorted(files.items())
    places, sector = [], _FIRST_FILE
    for _name, content in named:
        places.append(sector)
        sector += _sectors(len(content))
    parts = [bytes(_SYSTEM_AREA * SECTOR), _descriptor(_PLAIN, label, sector), _descriptor(_JOLIET, label, sector),
             _sector(b"\xffCD001\x01")]
    parts += [_sector(_path_table(tree.root, order)) for tree in (_PLAIN, _JOLIET) for order in "<>"]
    for tree in (_PLAIN, _JOLIET):
        records = [_record(b"\0", tree.root, SECTOR, folder=True), _record(b"\1", tree.root, SECTOR, folder=True)]
        records += [_record(tree.file_name(name, number), places[number], len(content)) for number, (name, content) in enumerate(named)]
        parts.append(_sector(b"".join(records)))
    parts += [content.ljust(_sectors(len(content)) * SECTOR, b"\0") for _name, content in named]
    return b"".join(parts)


def _sectors(size: int) -> int:
    return -(-size // SECTOR)


def _sector(content: bytes) -> bytes:
    if len(content) > SECTOR:
        raise ValueError(f"{len(content)} bytes for one sector, allowed {SECTOR}")
    return content.ljust(SECTOR, b"\0")


def _both16(number: int) -> bytes:
    return struct.pack("<H", number) + struct.pack(">H", number)


def _both32(number: int) -> bytes:
    return struct.pack("<I", number) + struct.pack(">I", number)


def _record(name: bytes, sector: int, size: int, folder: bool = False) -> bytes:
    """A directory record (ECMA-119, 9.1)."""
    body = b"\0" + _both32(sector) + _both32(size) + _DATE + bytes([2 if folder else 0, 0, 0]) + _both16(1) + bytes([len(name)]) + name
    body += b"\0" * ((len(body) + 1) % 2)
    return bytes([len(body) + 1]) + body


def _path_table(root: int, order: str) -> bytes:
    return struct.pack(f"{order}BBIHBB", 1, 0, root, 1, 0, 0)


def _descriptor(tree: _Tree, label: str, sectors: int) -> bytes:
    """A primary or supplementary volume descriptor (ECMA-119, 8.4 and 8.5)."""
    table = _path_table(tree.root, "<")
    return _sector(b"".join([
        bytes([tree.kind]), b"CD001", b"\x01\0", tree.text("", 32), tree.text(label, 32), bytes(8), _both32(sectors),
        tree.escape.ljust(32, b"\0"), _both16(1), _both16(1), _both16(SECTOR), _both32(len(table)),
        struct.pack("<II", tree.l_path, 0), struct.pack(">II", tree.m_path, 0), _record(b"\0", tree.root, SECTOR, folder=True),
        *(tree.text("", size) for size in (128, 128, 128, 128, 37, 37, 37)),
        _LONG_DATE, _LONG_DATE, _NO_DATE, _NO_DATE, b"\x01\0",
    ]))
