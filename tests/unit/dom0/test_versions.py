# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versions of Xen inside a pool, and what systemd is told of xendomains."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter import xen_versions
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import carry_out, plan, render, state, versions
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Result, Runner

from tests.unit.dom0.test_dom0 import CONVERGED, SETTINGS, TEXTS


@pytest.mark.parametrize(("text", "minor"), [
    ("4.17.7", (4, 17)), ("4.17.7+13-g2445b30a44-0+deb12u1", (4, 17)), ("1:4.20.4", (4, 20)), ("4.18-rc", (4, 18)), ("", None), ("x", None),
])
def test_minor_of(text: str, minor: tuple[int, int] | None) -> None:
    assert versions.minor_of(text) == minor


@pytest.mark.parametrize(("names", "newest"), [
    ([], ""), (["xen-4.17-amd64.gz", "xen-4.20-amd64.gz", "xen-4.9-amd64.gz"], "4.20"),
    (["xen-4.20-amd64.efi", "xen-4.20-amd64.config", "xen-syms-4.20-amd64.map", "xen.gz"], ""),
])
def test_newest_image(names: list[str], newest: str) -> None:
    assert versions.newest_image(names) == newest


@pytest.mark.parametrize(("running", "coming", "others", "says"), [
    ("", "4.17.7", {"xen02": "4.17.5"}, ""),
    ("", "4.20", {}, ""),
    ("", "", {"xen02": "4.17.5"}, ""),
    # What runs already is no change; the audit tells of it.
    ("4.20.4", "4.20", {"xen02": "4.17.5"}, ""),
    # The last of a pool that was brought to the next version.
    ("4.17.7", "4.18", {"xen02": "4.18.1", "xen03": "4.18.1"}, ""),
    ("", "4.18.1", {"xen02": "4.17.5"}, "xen02 has 4.17: their guests could move here live and never back"),
    ("4.17.7", "4.18", {"xen02": "4.17.5", "xen03": "4.18.0"}, "xen02 has 4.17: their guests"),
    ("", "4.17.7", {"xen02": "4.18.0"}, "xen02 has 4.18: guests could move from here to them and none of theirs here"),
    ("4.17.7", "4.20", {"xen03": "4.17.7", "xen02": "4.17.5"}, "xen02, xen03 have 4.17: no guest could move live either way"),
    ("", "5.18", {"xen02": "4.17.5"}, "xen02 has 4.17: no guest could move live either way"),
])
def test_skew(running: str, coming: str, others: dict[str, str], says: str) -> None:
    found = versions.skew(running, coming, others)
    assert bool(found) is bool(says)
    assert says in found


class Commands:
    """Answers of commands in the place of a runner."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def read(self, argv: list[str], ok: Any = (0,), data: str | None = None) -> Result:
        self.asked.append(" ".join(argv))
        return Result(0, self.answers.get(argv[0].replace("-", "_"), ""), "")

    def change(self, argv: list[str], ok: Any = (0,), data: str | None = None) -> Result:
        return self.read(argv)


def coming(host: state.HostState, fresh: bool, root: Path, **answers: str) -> tuple[str, list[str]]:
    commands = Commands(**answers)
    return state.coming_xen(cast(Runner, commands), host, fresh, root), commands.asked


def test_the_xen_that_comes_is_apt_s_or_the_newest_that_is_there(tmp_path: Path) -> None:
    bare = replace(CONVERGED, missing_packages=("xen-system-amd64",))
    policy = "xen-system-amd64:\n  Installed: (none)\n  Candidate: 4.17.7-1\n"
    assert coming(bare, False, tmp_path, apt_cache=policy) == ("4.17.7-1", ["apt-cache policy xen-system-amd64"])
    found, asked = coming(bare, True, tmp_path, apt_cache=policy)
    assert (found, len(asked), asked[0].endswith("apt-get -q -y update")) == ("4.17.7-1", 2, True)
    assert coming(CONVERGED, True, tmp_path) == ("", [])
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / "xen-4.20-amd64.gz").touch()
    assert coming(CONVERGED, True, tmp_path) == ("4.20", [])


def test_versions_by_pool() -> None:
    versions_of = xen_versions.FilterModule().filters()["xen_versions"]
    assert versions_of({"xen01": "4.17.7", "xen02": "", "xen03": "4.20.4", "xen04": None}, {"xen01": "a", "xen02": "a"}) == {
        "a": {"xen01": "4.17.7"}, "default": {"xen03": "4.20.4"}}
    with pytest.raises(AnsibleFilterError, match="values of type list and dict, allowed versions and pools"):
        versions_of([], {})


RELOAD = "reload systemd: so that xendomains may wait for guests; nothing is restarted"


@pytest.mark.parametrize(("old", "there", "lines"), [
    (False, True, []),
    (False, False, [f"write file {render.XENDOMAINS_UNIT}", RELOAD]),
    # Cut off between the file and the reload.
    (True, True, [RELOAD]),
])
def test_systemd_lets_xendomains_wait(old: bool, there: bool, lines: list[str]) -> None:
    texts = TEXTS if there else {path: text for path, text in TEXTS.items() if path != render.XENDOMAINS_UNIT}
    steps = plan.steps(SETTINGS, replace(CONVERGED, units_are_old=old), texts)
    assert [action.line() for action in steps.actions()] == lines


def test_xendomains_is_never_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry_out, "write_atomically", lambda file: None)
    monkeypatch.setattr(carry_out, "os", SimpleNamespace(makedirs=lambda *_args, **_more: None))
    commands = Commands()
    carry_out.apply(cast(Runner, commands), plan.steps(SETTINGS, CONVERGED, {**TEXTS, render.XENDOMAINS_UNIT: None}))
    assert commands.asked == ["systemctl daemon-reload"]


@pytest.mark.parametrize(("answer", "old"), [("NeedDaemonReload=yes\n", True), ("NeedDaemonReload=no\n", False), ("", False)])
def test_whether_systemd_has_read_the_unit(answer: str, old: bool) -> None:
    assert state._units_are_old(cast(Runner, Commands(systemctl=answer))) is old


@pytest.mark.parametrize(("info", "words", "tables", "found"), [
    ("virt_caps              : pv hvm hvm_directio pv_directio hap\n", (), None, True),
    ("virt_caps              : pv hvm hap\n", ("iommu=verbose",), ["DMAR"], False),
    ("virt_caps              : pv hvm hap\n", ("iommu=off",), None, None),
    ("virt_caps              : pv hvm hap\n", ("iommu=verbose,no",), None, None),
    ("nr_cpus : 4\n", (), None, None),
    ("", (), ["DMAR", "FACP"], True), ("", (), ["IVRS"], True), ("", (), ["FACP"], False), ("", (), None, None),
])
def test_whether_there_is_an_iommu(
    tmp_path: Path, info: str, words: tuple[str, ...], tables: list[str] | None, found: bool | None,
) -> None:
    folder = tmp_path / "tables"
    if tables is not None:
        folder.mkdir()
    for name in tables or ():
        (folder / name).touch()
    assert state._iommu(info, words, folder) is found
