# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module package_update on what apt-get of Debian 12 prints, and its parsers."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Result
from ansible_collections.xenfold.consolidation.plugins.modules import package_update

from tests.unit import command_cases

SAID = """\
Reading package lists...
The following packages have been kept back:
  xen-hypervisor-4.17-amd64 libxenmisc4.17
  xen-utils-4.17
The following NEW packages will be installed:
  linux-image-6.1.0-44-amd64
The following packages will be upgraded:
  libgcrypt20
2 upgraded, 1 newly installed, 0 to remove and 3 not upgraded.
Inst libgcrypt20 [1.10.1-3] (1.10.1-3+deb12u1 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64]) []
Inst linux-image-6.1.0-44-amd64 (6.1.164-1 Debian-Security:12/oldstable-security [amd64])
Conf libgcrypt20 (1.10.1-3+deb12u1 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64])
"""
LINES = ["update package libgcrypt20: 1.10.1-3 -> 1.10.1-3+deb12u1", "install package linux-image-6.1.0-44-amd64: 6.1.164-1"]
NOTHING = "Reading package lists...\n0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n"


def test_what_apt_would_do() -> None:
    assert [action.line() for action in packages.updates(SAID)] == LINES
    assert packages.kept_back(SAID) == ["libxenmisc4.17", "xen-hypervisor-4.17-amd64", "xen-utils-4.17"]
    assert (packages.updates(NOTHING), packages.kept_back(NOTHING)) == ([], [])


class Apt:
    """Answers the module's commands, and sees whether the mark was there when packages changed."""

    def __init__(self, mark: Path, said: str) -> None:
        self.mark, self.said, self.changes = mark, said, list[tuple[str, bool]]()
        self.broken = False
        self.states, self.after, self.configured = "a ii \n", "a ii \n", 0

    def read(self, argv: list[str], ok: Any = (0,)) -> Result:
        if argv[0] == "dpkg-query":
            return Result(0, self.states, "")
        assert list(argv[:2]) == ["apt-get", "--simulate"] and "--with-new-pkgs" in argv
        return Result(100, "", "E: Unmet dependencies.") if self.broken else Result(0, self.said, "")

    def change(self, argv: list[str], ok: Any = (0,)) -> Result:
        assert argv[:2] == ["env", "DEBIAN_FRONTEND=noninteractive"]
        self.changes.append((argv[-1], self.mark.exists()))
        if "--fix-broken" in argv:
            assert "--no-remove" in argv
            self.broken = False
        if "--configure" in argv:
            self.states = self.after
            assert self.configured in ok
            return Result(self.configured, "", "")
        return Result(0, "", "")


@pytest.fixture(name="apt")
def _apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    apt = Apt(tmp_path / "reboot-required", SAID)
    monkeypatch.setattr(package_update, "Runner", lambda module: apt)
    monkeypatch.setattr(packages, "REBOOT_MARK", str(apt.mark))
    monkeypatch.setattr(packages, "at_work", lambda: False)
    return apt


@pytest.mark.parametrize(("said", "options", "check", "changed", "changes", "marked"), [
    (SAID, {}, False, True, [("update", False), ("upgrade", True)], True),
    (SAID, {}, True, True, [], False),
    (SAID, {"update": False}, False, False, [("update", False)], False),
    (SAID, {"update": False}, True, False, [], False),
    (NOTHING, {}, False, False, [("update", False)], False),
])
def test_update(apt: Apt, said: str, options: dict[str, Any], check: bool, changed: bool, changes: list[Any], marked: bool) -> None:
    apt.said = said
    result = command_cases.run("package_update", {"input": options, "flags": {"check": check}})
    assert (result["changed"], apt.changes, result["reboot_required"], apt.mark.exists()) == (changed, changes, marked, marked)
    lines = LINES if said == SAID else []
    assert [f"{action['verb']} {action['target']}: {action['detail']}" for action in result["actions"]] == lines
    assert result["diff"]["after"] == ("".join(f"{line}\n" for line in lines) if options == {} else "")


def test_an_earlier_update_still_waits(apt: Apt) -> None:
    apt.said = NOTHING
    apt.mark.touch()
    result = command_cases.run("package_update", {"input": {}})
    assert (result["changed"], result["reboot_required"]) == (False, True)


@pytest.mark.parametrize(("options", "check", "changes"), [
    ({}, False, [("update", False), ("-a", True), ("install", True), ("upgrade", True)]),
    ({"update": False}, False, [("update", False)]), ({}, True, []),
])
def test_an_update_that_was_cut_off_is_finished(apt: Apt, options: dict[str, Any], check: bool, changes: list[Any]) -> None:
    apt.broken = True
    result = command_cases.run("package_update", {"input": options, "flags": {"check": check}})
    assert (apt.changes, result["reboot_required"]) == (changes, True)
    finished = [{"verb": "finish", "target": "packages", "detail": "an interrupted installation"}] if options == {} else []
    assert result["actions"][:1] == finished and len(result["actions"]) == len(finished) + (2 if ("install", True) in changes else 0)


@pytest.mark.parametrize(("configured", "more"), [(0, []), (1, [("install", True)])])
def test_packages_that_wait_for_their_configuration_are_an_update_that_was_cut_off(apt: Apt, configured: int, more: list[Any]) -> None:
    """apt names none of them in a simulation, and the mark of the run that unpacked them has gone with the power. One that cannot be
    configured may need another that has yet to be unpacked."""
    apt.said, apt.states, apt.configured = NOTHING, "a iU \n", configured
    result = command_cases.run("package_update", {"input": {"update": False}})
    assert (result["changed"], result["reboot_required"]) == (False, True)
    result = command_cases.run("package_update", {"input": {}})
    assert apt.changes[1:] == [("update", False), ("-a", True), *more]
    assert (result["changed"], result["reboot_required"]) == (True, True)
    assert not command_cases.run("package_update", {"input": {}})["changed"]


def test_what_cannot_be_finished_is_told_by_name(apt: Apt) -> None:
    apt.said, apt.states, apt.after = NOTHING, "a iU \nb iF \n", "a ii \nb iF \n"
    assert command_cases.run("package_update", {"input": {}, "output": {"failed": True}})["msg"].startswith("b: left half-way")


def test_what_somebody_works_on_is_not_cut_off(apt: Apt, monkeypatch: pytest.MonkeyPatch) -> None:
    apt.said, apt.states = NOTHING, "a iU \n"
    monkeypatch.setattr(packages, "at_work", lambda: True)
    assert not command_cases.run("package_update", {"input": {"update": False}})["reboot_required"]


def test_whether_somebody_works_with_packages(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not packages.at_work(str(lock))
    lock.touch()
    assert not packages.at_work(str(lock))
    hold = "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline() == b"held\n"
        assert packages.at_work(str(lock))
        other.communicate()
    assert not packages.at_work(str(lock))


@pytest.mark.parametrize(("listing", "unfinished"), [
    ("a ii \nb hi \nc rc \nd un \ne pn \n", False), ("", False),
    ("a ii \nb iU \n", True), ("a iF \n", True), ("a hF \n", True), ("a iH \n", True), ("a iW \n", True), ("a it \n", True),
    ("a iHR\n", True), ("a iiR\n", True), ("U ii \nR ii \nF hi \n", False),
    # A removal that was cut off, which dpkg does not go on with by itself.
    ("a rF \nb pH \n", False),
])
def test_what_dpkg_left_half_way(listing: str, unfinished: bool, tmp_path: Path) -> None:
    assert packages.interrupted(listing, tmp_path) is unfinished


@pytest.mark.parametrize(("names", "unfinished"), [
    (None, False), ((), False), (("tmp.i", "a1", "1a"), False), (("0001",), True), (("tmp.i", "0"), True),
])
def test_the_journal_of_dpkg(names: tuple[str, ...] | None, unfinished: bool, tmp_path: Path) -> None:
    updates = tmp_path / "var/lib/dpkg/updates"
    if names is not None:
        updates.mkdir(parents=True)
    for name in names or ():
        (updates / name).touch()
    assert packages.interrupted("a ii \n", tmp_path) is unfinished
