# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""iSCSI targets: the module on recorded answers of open-iscsi 2.1.8, and what is refused."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.iscsi import targets as iscsi
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.modules import iscsi_targets

from tests.unit import command_cases

STORE = {"portal": "10.0.9.5", "target": "iqn.2026-11.example:store"}
SESSION = "tcp: [1] 10.0.9.5:3260,1 iqn.2026-11.example:store (non-flash)\n"
RECORD = """# BEGIN RECORD 2.1.8
node.name = iqn.2026-11.example:store
node.tpgt = 1
node.startup = {startup}
node.session.auth.authmethod = {method}
node.session.auth.username = {username}
node.session.auth.password = {password}
# END RECORD
"""


def record(startup: str = "automatic", method: str = "None", username: str = "<empty>", password: str = "<empty>") -> str:
    return RECORD.format(startup=startup, method=method, username=username, password=password)


def node(*words: str) -> list[str]:
    return ["iscsiadm", "-m", "node", "-T", STORE["target"], "-p", "10.0.9.5:3260", *words]


def update(key: str, value: str) -> dict[str, Any]:
    return {"command": node("-o", "update", "-n", key, "-v", value)}


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packages, "missing", lambda _runner, _names: [])
    monkeypatch.setattr(Runner, "tool", lambda _runner, _name: True)
    monkeypatch.setattr(iscsi_targets, "WAIT_SECONDS", 0)
    monkeypatch.setattr(iscsi, "RULES_FILE", str(tmp_path / "rules"))
    monkeypatch.setattr(iscsi, "INITIATOR_FILE", str(tmp_path / "initiatorname.iscsi"))
    (tmp_path / "rules").write_text(iscsi.rules_file([STORE]).content)
    monkeypatch.setattr(iscsi_targets.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(iscsi, "device_prefix", lambda wanted: f"{tmp_path}/{wanted['target']}-lun-")


def run(tmp_path: Path, asked: list[dict[str, Any]], changes: list[dict[str, Any]], disks: int = 1, check: bool = False,
        target: dict[str, str] | None = None, **output: Any) -> dict[str, Any]:
    for number in range(disks):
        for end in ("", "-part1"):
            (tmp_path / f"{STORE['target']}-lun-{number + 1}{end}").touch()
    return command_cases.run("iscsi_targets", {
        "input": {"targets": [target or STORE]}, "flags": {"check": check}, "run": [*asked, *changes], "output": output})


def asked(session: str = "", told: str = "") -> list[dict[str, Any]]:
    return [{"command": ["iscsiadm", "-m", "session"], "out": session, "rc": 0 if session else iscsi.NOTHING},
            {"command": node("-S"), "out": told, "rc": 0 if told else iscsi.NOTHING}]


NEW = [{"command": node("-o", "new")}, update("node.session.auth.authmethod", "None"), update("node.startup", "automatic"),
       {"command": node("--login")}]
ADDED = [{"verb": "add", "target": f"target {STORE['target']}", "detail": "at 10.0.9.5:3260"},
         {"verb": "log in", "target": f"target {STORE['target']}", "detail": "at 10.0.9.5:3260"}]


def test_a_target_is_reached_and_shows_its_disks(tmp_path: Path) -> None:
    shown = run(tmp_path, asked(), [], check=True, disks=0, changed=True, actions=ADDED)
    assert shown["devices"] == {STORE["target"]: []}
    run(tmp_path, asked(), NEW, disks=2, changed=True, actions=ADDED,
        devices={STORE["target"]: [f"{tmp_path}/{STORE['target']}-lun-{number}" for number in (1, 2)]})


def test_what_is_in_order_is_left_alone(tmp_path: Path) -> None:
    run(tmp_path, asked(SESSION, record()), [{"command": node("--rescan")}], changed=False, actions=[])
    run(tmp_path, asked(SESSION, record()), [], check=True, changed=False, actions=[])
    (tmp_path / "rules").unlink()
    run(tmp_path, asked(SESSION, record()), [{"command": ["udevadm", "control", "--reload"]}, {"command": node("--rescan")}], changed=True)


@pytest.mark.parametrize(("session", "told", "changes", "said"), [
    # A run that was cut off after each of its commands.
    ("", record("manual", "CHAP"), [update("node.session.auth.authmethod", "None"), update("node.startup", "automatic"), NEW[-1]], 3),
    ("", record("manual"), [update("node.startup", "automatic"), NEW[-1]], 2),
    ("", record(), [NEW[-1]], 1),
    (SESSION, record("manual"), [update("node.startup", "automatic")], 1),
])
def test_a_run_that_was_cut_off_is_finished(tmp_path: Path, session: str, told: str, changes: list[dict[str, Any]], said: int) -> None:
    assert len(run(tmp_path, asked(session, told), changes, changed=True)["actions"]) == said


def test_a_password_is_compared_and_told_nowhere(tmp_path: Path) -> None:
    secret = {**STORE, "username": "xen", "password": "geheim-geheim"}
    run(tmp_path, asked(SESSION, record("automatic", "CHAP", "xen", "geheim-geheim")), [{"command": node("--rescan")}], target=secret,
        changed=False)
    told = run(tmp_path, asked(SESSION, record("automatic", "CHAP", "xen", "an-older-one-1")),
               [update("node.session.auth.password", "geheim-geheim")], target=secret, changed=True)
    assert "geheim" not in str(told["actions"]) and "an-older-one" not in str(told)


def test_a_fresh_host_is_shown_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "missing", lambda _runner, names: names)
    monkeypatch.setattr(Runner, "tool", lambda _runner, _name: False)
    install = {"verb": "install", "target": "package open-iscsi", "detail": ""}
    run(tmp_path, [], [], disks=0, check=True, changed=True, actions=[install, *ADDED])


def test_a_host_whose_name_was_lost_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _self, line: warned.append(line))
    path = tmp_path / "initiatorname.iscsi"
    path.write_text("")
    named = {"verb": "write", "target": f"file {path}", "detail": "with a new name of the host, since it is empty"}
    run(tmp_path, asked(SESSION, record()), [], check=True, changed=True, actions=[named])
    assert (path.read_text(), warned) == ("", [])
    name = [{"command": ["iscsi-iname", "-p", "iqn.1993-08.org.debian:01"], "out": "iqn.1993-08.org.debian:01:a1b2\n"},
            {"command": ["systemctl", "restart", "iscsid.socket"], "rc": 1}]
    run(tmp_path, [*name, *asked(SESSION, record())], [{"command": node("--rescan")}], changed=True, actions=[named])
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("InitiatorName=iqn.1993-08.org.debian:01:a1b2\n", 0o600)
    assert len(warned) == 1 and "this host has the new name iqn.1993-08.org.debian:01:a1b2; a target" in warned[0]
    run(tmp_path, asked(SESSION, record()), [{"command": node("--rescan")}], changed=False, actions=[])


@pytest.mark.parametrize(("target", "error"), [
    ({"portal": "store.lan"}, "targets[0].portal: value 'store.lan', allowed an IP address, with or without a port"),
    ({"target": 'iqn.2026-11.example:a"b'}, "targets[0].target: value"),
    ({"portal": "10.0.9.5:99999"}, "targets[0].portal: value '10.0.9.5:99999', allowed an IP address"),
    ({"target": "store"}, "targets[0].target: value 'store', allowed a name of iSCSI"),
    ({"username": "xen"}, "targets[0].password: missing, allowed both username and password, or neither"),
    ({"password": "geheim-geheim"}, "targets[0].username: missing"),
    ({"username": "xen", "password": "short"}, "targets[0].password: value of 5 characters, allowed 12 to 16"),
])
def test_bad_targets(target: dict[str, str], error: str) -> None:
    told = command_cases.run("iscsi_targets", {"input": {"targets": [{**STORE, **target}]}, "output": {"failed": True}})
    assert error in told["msg"]


@pytest.mark.parametrize("name", ['iqn.2026-11.example:a"b', "iqn.2026-11.example:guests(1", "iqn.2026-11.example:a|b"])
def test_no_name_that_is_none_comes_into_the_filter_of_lvm(name: str) -> None:
    told = command_cases.run("lvm_volumes", {"input": {"guest_targets": [name]}, "output": {"failed": True}})
    assert "guest_targets: value" in told["msg"]


@pytest.mark.parametrize("portal", ["10.0.9.5:3260", "10.0.9.6"])
def test_twice_is_once_too_often(portal: str) -> None:
    assert iscsi.check([STORE, {**STORE, "portal": portal}]) == [
        "targets[1].target: value 'iqn.2026-11.example:store', allowed once; several ways to it are a matter of multipath"]


def test_udev_takes_up_nothing_of_them() -> None:
    text = iscsi.rules_file([STORE, {**STORE, "target": "iqn.2026-11.example:other"}]).content
    assert [line.count('ENV{ID_FS_TYPE}=""') for line in text.splitlines()] == [0, 1, 1]
    assert 'ENV{ID_PATH}=="ip-*-iscsi-iqn.2026-11.example:store-lun-*"' in text


@pytest.mark.parametrize(("portal", "name"), [
    ("10.0.9.5", "10.0.9.5:3260"), ("10.0.9.5:3261", "10.0.9.5:3261"), ("fd00::5", "[fd00::5]:3260"), ("[fd00::5]:3261", "[fd00::5]:3261"),
])
def test_portals(portal: str, name: str) -> None:
    assert iscsi.portal_of({**STORE, "portal": portal}) == name
