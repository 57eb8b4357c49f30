# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disk images of a run: overlays of the cached root disk, empty data disks, logs of what is written to them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from lab.console import run
from lab.qemu import LOG_FOLDER, log_file


def create_overlay(path: Path, base: Path) -> None:
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, path], timeout=60)


def create_empty(path: Path, size_gib: int) -> None:
    run(["qemu-img", "create", "-q", "-f", "qcow2", path, f"{size_gib}G"], timeout=60)


def copy(source: Path, target: Path) -> None:
    """A copy that shares blocks where the file system can and keeps holes."""
    run(["cp", "--reflink=auto", "--sparse=always", source, target], timeout=300)


def begin_logs(folder: Path, files: Iterable[str]) -> None:
    """Before a host starts: its images as they are now, and an empty log for each. What is left of a start before goes."""
    shutil.rmtree(folder / LOG_FOLDER, ignore_errors=True)
    for file in files:
        begin_log(folder, file)


def begin_log(folder: Path, file: str) -> None:
    (folder / LOG_FOLDER).mkdir(exist_ok=True)
    copy(folder / file, folder / LOG_FOLDER / file)
    (folder / log_file(file)).touch()
