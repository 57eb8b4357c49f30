# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole files that the collection owns on a host: compared as text, written atomically, shown as diffs."""
from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WantedFile:
    """A file as it must be. mode: permission bits."""

    path: str
    content: str
    mode: int = 0o644


def read_texts(paths: Iterable[str]) -> dict[str, str | None]:
    """The present content of each path; None where there is no such file."""
    texts: dict[str, str | None] = {}
    for path in paths:
        try:
            texts[path] = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            texts[path] = None
    return texts


def differing(wanted: Iterable[WantedFile], actual: Mapping[str, str | None]) -> list[WantedFile]:
    """The wanted files whose content is not there yet, in the given order."""
    return [file for file in wanted if actual.get(file.path) != file.content]


def write_atomically(file: WantedFile) -> None:
    """Write a file so that a crash or power cut leaves the old or the new content, never a part of either."""
    directory = os.path.dirname(file.path)
    os.makedirs(directory, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=f".{os.path.basename(file.path)}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(file.content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, file.mode)
        os.replace(temporary, file.path)
    except BaseException:
        os.unlink(temporary)
        raise
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_diff(file: WantedFile, actual: Mapping[str, str | None]) -> dict[str, str]:
    """One entry of a module's diff list."""
    return {
        "before_header": file.path,
        "before": actual.get(file.path) or "",
        "after_header": file.path,
        "after": file.content,
    }


def with_block(text: str, owner: str, lines: Sequence[str]) -> str:
    """A file of somebody else's with a block of our own at its end; everything outside the block stays.

    owner: what stands in the marks around the block; an earlier block of that owner is replaced.
    """
    begin, end = f"# BEGIN {owner}", f"# END {owner}"
    kept, inside = [], False
    for line in text.splitlines():
        if line in (begin, end):
            inside = line == begin
        elif not inside:
            kept.append(line)
    while kept and not kept[-1].strip():
        kept.pop()
    return "\n".join([*kept, *([""] if kept else []), begin, *lines, end]) + "\n"
