# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/update.yml with the real role dom0, planner and apply.yml, on the stand-ins of test_operations_playbooks.py."""
from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.integration.test_apply_playbook import ROOT
from tests.integration.test_operations_playbooks import BEFORE, Operations

# What a host answers to role dom0 and to the update, and what a reboot does; `update` in the world has it by host.
STAND_IN = '''#!/usr/bin/python
import json, os
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule(dict.fromkeys(KEYS, {"type": "raw"}), supports_check_mode=True)
name = os.path.basename(module._remote_tmp)
with open("WORLD") as stream:
    world = json.load(stream)
host = world["update"].setdefault(name, {})
guests = [domain["name"] for domain in world["hosts"][name]["domains"]]
result = {"changed": False}
if "NAME" == "dom0":
    result |= {"reboot_reasons": host.get("reasons", []), "guests": guests, "xen_version": "4.17.7", "actions": [],
               "changed": host.get("drift", False)}
elif "NAME" == "package_update":
    old = host.get("old", [])
    result |= {"actions": old, "kept_back": host.get("kept", []), "reboot_required": host.get("mark", False)}
    if module.params.get("update") is not False and old:
        result["changed"] = True
        if not module.check_mode:
            host |= {"old": [], "mark": True}
elif "NAME" == "stat":
    path = module.params["path"]
    result["stat"] = {"exists": host.get("mark", False) if path == "/run/reboot-required" else os.path.exists(path)}
else:
    result["changed"] = True
    if not module.check_mode:
        if guests:
            module.fail_json(msg="the reboot would end guests: " + ", ".join(guests))
        if host.get("dies"):
            module.fail_json(msg="Timed out waiting for last boot time check")
        host |= {"reasons": [], "mark": host.get("stays", False)}
world["calls"].append({"module": "NAME", "host": name, "check": module.check_mode, "params": {}})
with open("WORLD", "w") as stream:
    json.dump(world, stream)
module.exit_json(**result)
'''
OLD = [{"verb": "update", "target": "package openssl", "detail": "3.0.15-1 -> 3.0.16-1"}]
MODULES = ("dom0", "package_update", "reboot", "stat")


class Update(Operations):
    """The scene, with role dom0 and hosts that can be updated."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        roles = folder / "playbooks" / "roles"
        for part in ("tasks", "defaults", "meta"):
            shutil.copytree(ROOT / "roles" / "dom0" / part, roles / "dom0" / part)
        options = re.findall(r"^    (\w+):", (ROOT / "roles/dom0/tasks/configure.yml").read_text(), re.MULTILINE)
        keys = [*options, "update", "path", "reboot_command", "reboot_timeout", "connect_timeout"]
        for name in MODULES:
            text = STAND_IN.replace('"NAME"', repr(name)).replace('"WORLD"', repr(str(self.world_file))).replace("KEYS", repr(keys))
            (folder / "library" / f"told_{name}.py").write_text(text)
        for path in [*(folder / "playbooks" / "tasks").glob("update_*.yml"), *(roles / "dom0").rglob("*.yml")]:
            text = path.read_text().replace("name: xenfold.consolidation.", "name: ")
            path.write_text(re.sub(rf"(xenfold\.consolidation|ansible\.builtin)\.({'|'.join(MODULES)}):", r"told_\2:", text))
        for path in (folder / "playbooks").rglob("update*.yml"):
            path.write_text(path.read_text().replace("/var/lib/xenfold", f"{folder}/own/{{{{ inventory_hostname }}}}"))
        (folder / "own").mkdir()
        self.consent("xen01", "xen02", "xen03")
        self.change(update={"xen01": {"old": OLD}})

    def consent(self, *hosts: str, value: str = "drain") -> None:
        for host in hosts:
            file = self.folder / "estate" / "host_vars" / f"{host}.yml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"dom0_reboot: {value}\n")

    def update(self, *arguments: str, host: str = "xen01") -> tuple[int, str]:
        return self.play("update", "-e", f"host={host}", *arguments)

    @property
    def begun(self) -> list[str]:
        """Hosts on which an update is remembered."""
        return [path.parent.name for path in (self.folder / "own").glob("*/update")]

    def autostart(self, host: str) -> list[bool]:
        """What was asked for of links by each real call for the host's guests."""
        calls = [call for call in self.world["calls"] if call["module"] == "xl_guest" and not call["check"]]
        return [call["autostart"] for call in calls if call["host"] == host and "autostart" in call]

    def done(self, *modules: str) -> list[str]:
        """What was called for real, in order: the calls of other modules are recorded in check mode as well."""
        return [call["module"] for call in self.world["calls"] if call["module"] in modules and not call.get("check")]


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Update:
    return Update(tmp_path)


def test_a_host_is_updated_while_its_guests_are_elsewhere(scene: Update) -> None:
    code, text = scene.update("--check", "--diff")
    assert (code, scene.where(), scene.marks.exists()) == (0, BEFORE, False), text
    assert "xen01: it is drained, updated, rebooted and taken back: update package openssl: 3.0.15-1 -> 3.0.16-1" in text
    assert "+move guest web01 to xen02" in text and "xen01 would be updated, rebooted and taken back: this is a preview" in text
    assert (scene.done("reboot"), scene.world["update"]["xen01"], scene.begun) == ([], {"old": OLD}, [])
    code, text = scene.update()
    assert (code, scene.where(), scene.marks.exists(), scene.begun) == (0, BEFORE, False, []), text
    # Drained they start with no host, and with theirs again when they are back.
    assert scene.autostart("xen01")[-1] is True, scene.world["calls"]
    assert scene.done("reboot", "xl_move") == ["xl_move", "reboot", "xl_move"], text
    assert scene.world["update"]["xen01"] == {"old": [], "mark": False, "reasons": []}
    assert "xen01 was updated and rebooted" in text
    code, text = scene.update()
    assert (code, scene.where(), scene.done("reboot", "xl_move")) == (0, BEFORE, []), text
    assert "xen01: nothing is to be done" in text and "xen01 is up to date" in text
    assert "changed=0" in text and not re.search(r"changed=[1-9]", text), text
    # What differs and asks for no reboot is the business of site.yml.
    scene.change(update={"xen01": {"drift": True}})
    code, text = scene.update()
    assert code == 0 and "xen01: nothing is to be done" in text and not re.search(r"changed=[1-9]", text), text


@pytest.mark.long
def test_an_update_that_was_cut_off_is_gone_on_with(scene: Update) -> None:
    scene.change(update={"xen01": {"old": OLD, "dies": True}})
    code, text = scene.update()
    assert (code, scene.where()["xen01"]) == (2, []), text
    assert "Timed out waiting" in text and scene.marks.exists() and scene.begun == ["xen01"]
    # Packages are up to date by now; what waits is remembered on the host.
    scene.change(update={"xen01": {"old": [], "mark": True}})
    code, text = scene.update()
    assert (code, scene.where(), scene.marks.exists()) == (0, BEFORE, False), text
    assert "waits for a reboot: packages were updated since it started" in text
    # Between the reboot and the return.
    scene.play("drain", "-e", "host=xen01")
    (scene.folder / "own" / "xen01" / "update").touch()
    code, text = scene.update("--check")
    assert (code, scene.where()["xen01"], scene.begun) == (0, [], ["xen01"]), text
    assert "xen01: it is up to date, and is taken back" in text and "2 of 2 guests that were taken from it come back" in text
    code, text = scene.update()
    assert (code, scene.where(), scene.marks.exists(), scene.done("reboot"), scene.begun) == (0, BEFORE, False, [], []), text


@pytest.mark.long
def test_a_host_that_was_drained_for_something_else_is_left_so(scene: Update) -> None:
    scene.play("drain", "-e", "host=xen01")
    code, text = scene.update()
    assert (code, scene.marks.exists(), scene.done("reboot", "xl_move")) == (2, True, []), text
    assert "host 'xen01': it was drained before, and not by an update" in text and "-e update_drained=xen01" in text
    code, text = scene.update("-e", "update_drained=xen01")
    assert (code, scene.where(), scene.marks.exists(), scene.done("reboot")) == (0, BEFORE, False, ["reboot"]), text


@pytest.mark.long
def test_held_packages_of_xen_are_updated_on_request(scene: Update) -> None:
    scene.change(update={"xen01": {"kept": ["libxenmisc4.17", "xen-utils-4.17"]}})
    code, text = scene.update("-e", '{"dom0_hold": true}')
    assert (code, scene.done("reboot")) == (0, []), text
    assert "kept back: libxenmisc4.17, xen-utils-4.17" in text
    code, text = scene.update("-e", '{"dom0_hold": false}')
    assert (code, scene.where(), scene.done("reboot")) == (0, BEFORE, ["reboot"]), text


@pytest.mark.long
def test_another_xen_is_refused_before_anything_moves(scene: Update) -> None:
    new = {"verb": "install", "target": "package xen-hypervisor-4.20-amd64", "detail": "4.20.2"}
    scene.change(update={"xen01": {"old": [*OLD, new]}})
    code, text = scene.update()
    assert (code, scene.where(), scene.marks.exists(), scene.begun) == (2, BEFORE, False, []), text
    assert "host 'xen01': package xen-hypervisor-4.20 would be installed and Xen 4.17 runs" in text
    scene.change(update={"xen01": {"old": [{**new, "target": "package xen-hypervisor-4.17-amd64"}]}})
    assert scene.update("--check")[0] == 0


@pytest.mark.long
def test_a_host_that_is_not_what_it_should_be_stays_drained(scene: Update) -> None:
    scene.change(update={"xen01": {"old": OLD, "stays": True}})
    code, text = scene.update()
    assert (code, scene.where()["xen01"], scene.marks.exists()) == (2, [], True), text
    assert "xen01 stays drained: it was rebooted, and still /run/reboot-required waits for a reboot" in text


@pytest.mark.long
def test_packages_are_left_alone_on_request(scene: Update) -> None:
    code, text = scene.update("-e", "update_packages=none")
    assert (code, scene.done("reboot", "xl_move")) == (0, []), text
    scene.change(update={"xen01": {"old": OLD, "reasons": ["dom0 has 1 vCPUs instead of 2"]}})
    code, text = scene.update("-e", "update_packages=none")
    assert (code, scene.where(), scene.done("reboot")) == (0, BEFORE, ["reboot"]), text
    assert scene.world["update"]["xen01"]["old"] == OLD
    assert "waits for a reboot: dom0 has 1 vCPUs instead of 2" in text


@pytest.mark.long
def test_who_cannot_leave_keeps_the_host_from_its_reboot(scene: Update) -> None:
    scene.change(fates={"web01": "no memory"})
    code, text = scene.update()
    assert (code, scene.where()["xen01"], scene.done("reboot")) == (2, ["web01"], []), text
    assert scene.world["update"]["xen01"] == {"old": OLD}, "packages wait for an empty host"


def test_nothing_moves_when_the_host_would_not_become_empty(scene: Update) -> None:
    scene.keeps_its_disks("db01")
    code, text = scene.update()
    assert (code, scene.where(), scene.marks.exists(), scene.done("reboot", "xl_move")) == (2, BEFORE, False, []), text
    assert "Nothing was moved, since xen01 would not become empty: db01 stays: it cannot move live" in text


REFUSED = [
    (["-e", "update_packages=some"], "update_packages: value 'some', allowed all (the default) or none"),
    (["-e", "stay=web01"], "stay: value 'web01', allowed none: the host reboots"),
    (["-e", "dom0_reboot=if_empty"], "host 'xen01': dom0_reboot: value 'if_empty', allowed drain"),
    (["-e", "host=xen09"], "host: value 'xen09', allowed one host of the estate: xen01, xen02, xen03"),
    (["-e", "back=perhaps"], "back: value 'perhaps', allowed true or false"),
    (["--limit", "xen01"], "--limit: value 'xen01', allowed none"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_refusals_come_before_anything_is_touched(scene: Update, arguments: list[str], message: str) -> None:
    code, text = scene.update(*arguments)
    assert (code, scene.where(), scene.marks.exists(), scene.world["calls"]) == (2, BEFORE, False, []), text
    assert message in text


@pytest.mark.long
def test_one_host_of_a_pool_at_a_time(scene: Update) -> None:
    scene.marks.write_text("xen_hosts: {hosts: {xen03: {estate_drained: []}}}\n")
    code, text = scene.update()
    assert (code, scene.where(), scene.done("reboot", "xl_move")) == (2, BEFORE, []), text
    assert ("host 'xen01': xen03 of the same pool is drained, and one host of a pool is updated at a time. Take it back first"
            " (playbooks/return.yml -e host=xen03), or consent: -e update_beside=xen03") in text
    code, text = scene.update("-e", '{"update_beside": ["xen02", "xen03"]}')
    assert (code, scene.where(), scene.done("reboot")) == (0, BEFORE, ["reboot"]), text


def rolling(scene: Update, *arguments: str) -> tuple[int, str]:
    tools = scene.folder / "tools"
    if not tools.is_dir():
        shutil.copytree(ROOT / "tools", tools)
    done = subprocess.run([sys.executable, str(tools / "update.py"), "-i", "estate", "-e", f"plan_dir={scene.folder}/plan", *arguments],
                          cwd=scene.folder, capture_output=True, text=True, timeout=600, env=scene.environment())
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.long
def test_one_host_after_the_other(scene: Update) -> None:
    scene.change(update={"xen01": {"old": OLD}, "xen02": {"old": OLD, "dies": True}, "xen03": {"old": OLD}})
    code, text = rolling(scene, "--hosts", "xen01,xen02,xen03")
    assert code == 2 and "update: xen02 was not updated; done: xen01; not begun: xen03" in text
    assert yaml.safe_load(scene.marks.read_text()) == {"xen_hosts": {"hosts": {"xen02": {"estate_drained": ["web02"]}}}}
    world = scene.world
    world["update"]["xen02"]["dies"] = False
    scene.save(world)
    code, text = rolling(scene)
    assert (code, scene.where()) == (0, BEFORE), text
    assert "update: all 3 hosts: xen01, xen02, xen03" in text
    assert not any(host["old"] or host["mark"] for host in scene.world["update"].values())


def test_a_host_that_is_not_there_is_told(scene: Update) -> None:
    code, text = rolling(scene, "--hosts", "xen01,xen09")
    assert (code, scene.world["calls"]) == (2, [])
    assert "update: --hosts: value 'xen09', allowed hosts of the inventory: xen01, xen02, xen03" in text
