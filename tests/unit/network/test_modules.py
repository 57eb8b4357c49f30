# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules on recorded commands (`cases.yml`, `guard_cases.yml`), with a folder as the root of the host."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import host as host_module
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import refusals, render
from ansible_collections.xenfold.consolidation.plugins.modules import network as network_module
from ansible_collections.xenfold.consolidation.plugins.modules import network_guard

from tests.unit import command_cases
from tests.unit.network import hosts

HERE = Path(__file__).parent
ARMED: dict[str, Any] = {"network": {"host": "net1", "bonds": [hosts.BOND], "vlans": [], "bridges": [hosts.BRIDGE]},
         "asserts": ["members", "partner"], "touched": [], "armed_at": 1e12, "confirm_seconds": 90}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (network_module, network_guard):
        monkeypatch.setattr(module, "Host", lambda runner: host_module.Host(runner, str(tmp_path)))
    monkeypatch.setattr(network_guard.time, "sleep", lambda _seconds: None)
    return tmp_path


def prepare(root: Path, given: dict[str, Any]) -> None:
    """Files of a case: `host` (bare, converged), `files`, `bonding` (as in /proc), `step` of the guard with `record`, `applied`."""
    state = {"bare": hosts.bare, "converged": hosts.converged}[given.get("host", "bare")]()
    texts = dict(state.files) | given.get("files", {})
    if given.get("bonding"):
        texts["/proc/net/bonding/bond0"] = (hosts.SEEN / "bond0.txt").read_text()
    if given.get("step"):
        texts[f"/var/lib/xenfold/network/{given['step']}"] = ""
        record = given.get("record", {})
        described = ARMED["network"] | record.get("network", {})
        texts["/var/lib/xenfold/network/change.json"] = json.dumps(ARMED | record | {"network": described})
    if given.get("applied"):
        texts["/var/lib/xenfold/network/applied"] = ""
    for path, text in texts.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def filled(case: dict[str, Any], root: Path) -> dict[str, Any]:
    """The case with ROOT replaced, and `seen: FILE` in place of the output of a command."""
    case = json.loads(json.dumps(case).replace("ROOT", str(root)))
    for entry in case.get("run", []):
        if "seen" in entry:
            entry["out"] = (hosts.SEEN / entry["seen"]).read_text()
    return dict(case)


@pytest.mark.parametrize("case", command_cases.load(HERE / "cases.yml"))
def test_network(case: dict[str, Any], root: Path) -> None:
    prepare(root, case.get("given", {}))
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    result = command_cases.run("network", filled(case, root))
    if case.get("flags", {}).get("check") or not result.get("changed") or result["unsettled"]:
        assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    else:
        assert (root / "var/lib/xenfold/network/armed").exists()
        for file in render.networkd_files(hosts.network()):
            assert (root / file.path.lstrip("/")).read_text() == file.content


@pytest.mark.parametrize("case", command_cases.load(HERE / "guard_cases.yml"))
def test_network_guard(case: dict[str, Any], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`faster`: the guard acts between the question and the confirmation; `ends`: it comes to its end while one waits."""
    given = case.get("given", {})
    prepare(root, given)
    folder = root / "var/lib/xenfold/network"
    if given.get("faster"):
        real = host_module.Host.confirm
        monkeypatch.setattr(host_module.Host, "confirm", lambda self: ((folder / "armed").rename(folder / "restoring"), real(self))[1])
    if given.get("ends"):
        monkeypatch.setattr(network_guard.time, "sleep", lambda _seconds: (folder / "armed").rename(folder / "restored"))
    command_cases.run("network_guard", filled(case, root))


def test_every_option_of_the_role_reaches_the_module() -> None:
    collection = HERE.parents[2]
    spec = yaml.safe_load((collection / "roles/network/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((collection / "roles/network/defaults/main.yml").read_text())
    assert {name: option["default"] for name, option in spec.items()} == defaults
    task = (collection / "roles/network/tasks/main.yml").read_text()
    documented = yaml.safe_load(network_module.DOCUMENTATION)["options"]
    call = yaml.safe_load(task)[0]["xenfold.consolidation.network"]
    assert set(call) == set(documented)
    assert all(f"{{{{ {name} }}}}" in task for name in spec)


def test_the_role_documents_every_key_of_an_item() -> None:
    spec = yaml.safe_load((HERE.parents[2] / "roles/network/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import SPECS  # noqa: PLC0415
    for kind, keys in SPECS.items():
        text = " ".join(str(spec[f"network_{kind}s"]["description"]).split())
        assert [key for key in keys if f"C({key})" not in text] == []


def test_refused_changes_leave_no_guard(root: Path) -> None:
    assert refusals.refusals(hosts.network(bridges=[{"name": "eth3"}]), hosts.bare(), [])
    assert not (root / "var").exists()
