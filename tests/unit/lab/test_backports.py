# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a newer QEMU comes from, and that a machine without it goes on. apt itself is false here; make lab-packages runs it."""
from __future__ import annotations

import pytest

from lab import backports, sources
from lab.errors import LabError
from lab.releases import RELEASES

OLD = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\n"
LINES = ["deb http://security.example/debian-security bookworm-security main", "deb http://mirror.example/debian bookworm contrib main"]


@pytest.mark.parametrize(("codename", "version", "wanted"), [
    ("bookworm", OLD, True), ("bookworm", "QEMU emulator version 10.0.2 (Debian)", False), ("trixie", OLD, False), ("bookworm", "", False),
])
def test_only_the_qemu_of_debian_12_is_replaced(codename, version, wanted):
    assert backports.wanted(codename, version) is wanted


@pytest.mark.parametrize(("lines", "found"), [
    (LINES, "deb [x] http://mirror.example/debian bookworm-backports main"), (LINES[:1], None), ([], None),
    (["deb http://mirror.example/debian bookworm contrib"], None),
])
def test_backports_are_where_the_release_is(lines, found):
    assert backports.source_line(lines, "bookworm", "[x] ") == found


@pytest.fixture(name="machine")
def _machine(tmp_path, monkeypatch):
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(backports, "SOURCE", tmp_path / "backports.list")
    monkeypatch.setattr(backports, "_KEYRING", tmp_path / "none")
    monkeypatch.setattr(sources, "machine_sources", lambda release: LINES)
    monkeypatch.setattr(backports, "_apt", lambda *words: calls.append(words))
    return calls


def test_it_is_installed_from_there_alone(machine):
    backports.install(RELEASES["bookworm"])
    assert backports.SOURCE.read_text().endswith("deb http://mirror.example/debian bookworm-backports main\n")
    assert machine == [("update",), ("--no-install-recommends", "install", "-t", "bookworm-backports", "qemu-system-x86", "qemu-utils")]


def test_a_mirror_without_it_leaves_no_source_behind(machine, monkeypatch):
    def fail(*words):
        raise LabError(f"apt-get {words[0]}: 100")

    monkeypatch.setattr(backports, "_apt", fail)
    with pytest.raises(LabError, match="apt-get update: 100"):
        backports.install(RELEASES["bookworm"])
    assert not backports.SOURCE.exists()
