# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disk images of a run: overlays of the cached root disk, empty data disks."""

from __future__ import annotations

from pathlib import Path

from lab.console import run


def create_overlay(path: Path, base: Path) -> None:
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, path], timeout=60)


def create_empty(path: Path, size_gib: int) -> None:
    run(["qemu-img", "create", "-q", "-f", "qcow2", path, f"{size_gib}G"], timeout=60)


def copy(source: Path, target: Path) -> None:
    """A copy that shares blocks where the file system can and keeps holes."""
    run(["cp", "--reflink=auto", "--sparse=always", source, target], timeout=300)
