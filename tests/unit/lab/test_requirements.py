# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from pathlib import Path

import pytest

from lab import requirements
from lab.errors import LabError


def test_missing_programs_are_named_by_their_packages() -> None:
    def find(name: str) -> str | None:
        return None if name in ("qemu-img", "mmdebstrap", "ssh", "ssh-keygen") else f"/usr/bin/{name}"

    assert requirements.missing_packages(requirements.BUILD_PROGRAMS, find) == ["mmdebstrap", "openssh-client", "qemu-utils"]
    with pytest.raises(LabError, match="apt-get install mmdebstrap openssh-client qemu-utils"):
        requirements.need_programs(requirements.BUILD_PROGRAMS, find)
    requirements.need_programs(requirements.BUILD_PROGRAMS, lambda name: name)


def test_every_package_of_the_tables_is_listed() -> None:
    assert requirements.unlisted(requirements.BUILD_PROGRAMS.values()) == []


def test_memory_is_refused_with_the_sum() -> None:
    requirements.need_memory(2, 2560, 5720)
    with pytest.raises(LabError, match=r"2 hosts x \(2560 \+ 300\) MiB = 5720 MiB wanted, 5719 MiB available"):
        requirements.need_memory(2, 2560, 5719)


def test_memory_is_read_from_meminfo() -> None:
    assert requirements.available_memory_mib("MemTotal: 9 kB\nMemAvailable:    2097152 kB\n") == 2048
    with pytest.raises(LabError, match="MemAvailable"):
        requirements.available_memory_mib("MemTotal: 9 kB\n")


def test_disk_is_refused_with_the_place(tmp_path: Path) -> None:
    requirements.need_disk(10, tmp_path / "not" / "there", "2 hosts", free_mib=10)
    with pytest.raises(LabError, match=r"not enough disk for 2 hosts: 11 MiB wanted under .*, 10 MiB free"):
        requirements.need_disk(11, tmp_path, "2 hosts", free_mib=10)
    requirements.need_disk(1, tmp_path / "not" / "there", "2 hosts")


def test_only_root_builds_images() -> None:
    requirements.need_root("building", uid=0)
    with pytest.raises(LabError, match="building needs root"):
        requirements.need_root("building", uid=1000)


def test_logged_writes_want_more_disk() -> None:
    assert requirements.host_disk_mib(True) == 3 * requirements.host_disk_mib(False)
