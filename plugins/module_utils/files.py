# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole files that the collection owns on a host: compared as text, written atomically, shown as diffs."""
from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class WantedFile:
    """A file as it must be. mode: permission bits; None keeps those of a file that is there, with its owner, and is 0644 for a new one."""

    path: str
    content: str
    mode: int | None = None


class BrokenBlock(ValueError):
    """The marks of a block in somebody else's file are not one pair; where the block ends is anyone's guess."""


def read_texts(paths: Iterable[str]) -> dict[str, str | None]:
    """The present content of each path; None where there is no such file."""
    texts: dict[str, str | None] = {}
    for path in paths:
        try:
            texts[path] = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            texts[path] = None
    return texts


def lost(text: str | None) -> bool:
    """Whether a file is there without a word. Scripts of packages make files and do not wait for the disk, as dpkg does: a power cut soon
    after leaves such a file empty and the package as installed."""
    return text is not None and not text.strip("\0 \t\r\n")


def differing(wanted: Iterable[WantedFile], actual: Mapping[str, str | None]) -> list[WantedFile]:
    """The wanted files whose content is not there yet, in the given order."""
    return [file for file in wanted if actual.get(file.path) != file.content]


def write_atomically(file: WantedFile) -> None:
    """Write a file so that a crash or power cut leaves the old or the new content, never a part of either.

    A symlink stays: what it leads to is written, unless that is no file (/dev/null masks a unit, and must not become one).
    """
    path = os.path.realpath(file.path) if os.path.islink(file.path) else file.path
    before = os.stat(path) if os.path.exists(path) else None
    if before and not stat.S_ISREG(before.st_mode):
        path, before = file.path, None
    directory = os.path.dirname(path)
    os.makedirs(directory, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=f".{os.path.basename(path)}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(file.content)
            stream.flush()
            os.fsync(stream.fileno())
        if file.mode is None and before:
            _give(temporary, before)
        else:
            os.chmod(temporary, 0o644 if file.mode is None else file.mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _give(path: str, like: os.stat_result) -> None:
    """Owner and permissions of another file; without root the owner is who runs this."""
    with contextlib.suppress(PermissionError):
        os.chown(path, like.st_uid, like.st_gid)
    os.chmod(path, stat.S_IMODE(like.st_mode))


@contextlib.contextmanager
def writable(module: Any, option: str) -> Iterator[None]:
    """Fails by the name of the option when its file cannot be read or written."""
    try:
        yield
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{option}: value {module.params[option]!r}: {error}, allowed the path of a file that can be written")


def file_diff(file: WantedFile, actual: Mapping[str, str | None]) -> dict[str, str]:
    """One entry of a module's diff list."""
    return {
        "before_header": file.path,
        "before": actual.get(file.path) or "",
        "after_header": file.path,
        "after": file.content,
    }


def find_block(text: str, owner: str) -> tuple[int, int] | None:
    """The lines (from 0) of the two marks around the owner's block, None where there is none.

    Raises BrokenBlock, with the number of the line, when the marks are not one pair.
    """
    begin, end = _marks(owner)
    found: list[int] = []
    for number, line in enumerate(text.split("\n")):
        mark = line.rstrip()
        if mark not in (begin, end):
            continue
        if len(found) == 2 or mark != (end if found else begin):
            why = "a second time" if mark == begin or len(found) == 2 else f"without '{begin}' above it"
            raise BrokenBlock(f"line {number + 1}: '{mark}' stands there {why}; allowed is one block between '{begin}' and '{end}'."
                              " Remove the marks that are too many, and what lies between them if it is not yours")
        found.append(number)
    if len(found) == 1:
        raise BrokenBlock(f"line {found[0] + 1}: '{begin}' stands there without '{end}' below it; allowed is one block between the two."
                          f" Put '{end}' where the block ends, or remove the mark and the block")
    return (found[0], found[1]) if found else None


def _marks(owner: str) -> tuple[str, str]:
    return f"# BEGIN {owner}", f"# END {owner}"


def with_block(text: str, owner: str, lines: Sequence[str]) -> str:
    """A file of somebody else's with a block of our own at its end; everything outside the block stays.

    owner: what stands in the marks around the block; an earlier block of that owner is replaced. Raises BrokenBlock.
    """
    begin, end = _marks(owner)
    kept = text.split("\n")
    block = find_block(text, owner)
    if block:
        del kept[block[0]:block[1] + 1]
    while kept and not kept[-1].strip():
        kept.pop()
    return "\n".join([*kept, *([""] if kept else []), begin, *lines, end]) + "\n"
