# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/drain.yml, return.yml and rebalance.yml with the real planner and apply.yml, on the stand-ins of test_apply_playbook.py."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.xenfold.consolidation.plugins.module_utils.md.arrays import array_uuid

from tests.integration.test_apply_playbook import ROOT, Scene, domain

ANSWERS = '''#!/usr/bin/python
import json, os
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule({"details": {"type": "bool"}}, supports_check_mode=True)
name = os.path.basename(module._remote_tmp)
with open("WORLD") as stream:
    world = json.load(stream)
guests = {domain["name"]: "running" for domain in world["hosts"][name]["domains"]}
auto = "AUTO/" + name
links = {link: "" for link in os.listdir(auto)} if os.path.isdir(auto) else {}
info = {"arrays": [], "bonds": [], "versions": {}, "cpu": {}, "capacity": {}, "reboot": [], "guard": {}, "unasked": [],
        **world.get("info", {}).get(name, {})}
module.exit_json(changed=False, links=links, guests=guests, xen_version="4.17.7", domains=[], stored={}, **(
    info if "host_info" in __file__ or "host_info" in module._name else {}))
'''


class Operations(Scene):
    """The scene, with what these playbooks ask beyond apply.yml."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for name in ("xl_guest_info", "host_info"):
            text = ANSWERS.replace('"WORLD"', repr(str(self.world_file))).replace("AUTO", str(folder / "auto"))
            (folder / "library" / f"told_{name}.py").write_text(text)
        for path in (folder / "playbooks").rglob("*.yml"):
            text = re.sub(r"xenfold\.consolidation\.(xl_guest_info|host_info):", r"told_\1:", path.read_text())
            text = text.replace("/etc/xen/auto/", f"{folder}/auto/{{{{ inventory_hostname }}}}/")
            path.write_text(text.replace("/var/lib/xenfold/moves", f"{folder}/moves/{{{{ inventory_hostname }}}}"))
        (folder / "plan" / "plan.json").unlink()
        self.marks = folder / "estate" / "drained.yml"
        members = [{"device": f"vd{letter}", "serial": f"S{letter}", "state": "active"} for letter in "bcde"]
        self.change(info={host: {"arrays": [{
            "kernel_device": "md127", "name": "guests", "uuid": array_uuid(host, "guests"), "state": "active", "level": "raid10",
            "slots": 4, "working": 4, "sync": None, "container": False, "members": members}]} for host in BEFORE})

    def play(self, name: str, *arguments: str) -> tuple[int, str]:
        """Return code and text, in one line; the calls of this run alone are in the world afterwards."""
        self.change(calls=[])
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "estate", f"playbooks/{name}.yml",
             "-e", f"plan_dir={self.folder}/plan", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=300,
            env=self.environment())
        text = " ".join((done.stdout + done.stderr).split())
        assert all(told["lock"] in (None, "other") for told in self.world["hosts"].values()), text
        return done.returncode, text

    def keeps_its_disks(self, guest: str) -> None:
        """That guest's disks are on its host alone."""
        hosts = self.folder / "estate" / "hosts.yml"
        content = yaml.safe_load(hosts.read_text())
        for workload in content["all"]["vars"]["estate_workloads"]:
            if workload["name"] == guest:
                workload["storage"] = "local"
        hosts.write_text(yaml.safe_dump(content))

    def environment(self) -> dict[str, str]:
        return {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_SSH_RETRIES": "0",
                "ANSIBLE_PIPELINING": "1", "ANSIBLE_LIBRARY": str(self.folder / "library"), "USER": "eve"}

    def link(self, host: str, name: str) -> Path:
        path = self.folder / "auto" / host / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        return path


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Operations:
    return Operations(tmp_path)


BEFORE = {"xen01": ["db01", "web01"], "xen02": ["web02"], "xen03": []}
EMPTY = {"xen01": [], "xen02": ["db01", "web01", "web02"], "xen03": []}


def test_a_host_is_drained_and_taken_back_with_its_guests(scene: Operations) -> None:
    code, text = scene.play("drain", "-e", "host=xen01", "--check", "--diff")
    assert code == 0, text
    assert "xen01: 2 guests leave it, 0 stay" in text
    assert "+ estate_drained:" in text and "step 1 (wave 1): db01 from xen01 to xen02" in text
    assert "+move guest web01 to xen02" in text
    assert (scene.where(), scene.marks.exists(), (scene.folder / "plan" / "operation").exists()) == (BEFORE, False, False)
    link = scene.link("xen01", "50-db01")
    stranger = scene.link("xen01", "50-stranger")
    code, text = scene.play("drain", "-e", "host=xen01")
    assert (code, scene.where()) == (0, EMPTY), text
    assert "xen01 is drained, and empty" in text
    assert yaml.safe_load(scene.marks.read_text()) == {"xen_hosts": {"hosts": {"xen01": {"estate_drained": ["db01", "web01"]}}}}
    assert (link.exists(), stranger.exists()) == (False, True)
    code, text = scene.play("drain", "-e", "host=xen01")
    assert (code, scene.where()) == (0, EMPTY), text
    assert text.count("changed=0") == 4 and scene.calls("xl_move", "xl_guest") == [], text
    code, text = scene.play("return", "-e", "host=xen01", "-e", "back=true")
    assert (code, scene.where(), scene.marks.exists()) == (0, BEFORE, False), text
    assert "2 of 2 guests that were taken from it come back" in text


@pytest.mark.long
def test_a_second_return_changes_nothing(scene: Operations) -> None:
    code, text = scene.play("return", "-e", "host=xen01", "-e", "back=true")
    assert (code, scene.where()) == (0, BEFORE), text
    assert text.count("changed=0") == 4 and scene.calls("migration_lock") == [], text


@pytest.mark.long
def test_a_drain_that_was_cut_off_is_gone_on_with_and_a_move_that_fails_is_told(scene: Operations) -> None:
    scene.change(fates={"web01": "no memory"})
    code, text = scene.play("drain", "-e", "host=xen01")
    assert (code, scene.where()["xen01"]) == (2, ["web01"]), text
    assert "web01 stays on xen01: xl migrate ended with 1, and said: no memory" in text
    # The controller died in the middle of the next one.
    away = {"state": "shutdown", "flags": "---ss-"}
    scene.change(fates={})
    scene.has("xen01", domain("web01--migratedaway", 3, **away))
    scene.has("xen02", domain("db01", 20), domain("web02"), domain("web01", 9))
    code, text = scene.play("drain", "-e", "host=xen01")
    assert (code, scene.where()) == (0, EMPTY), text
    assert "web01: on its way, so the plan in" in text
    assert yaml.safe_load(scene.marks.read_text())["xen_hosts"]["hosts"]["xen01"] == {"estate_drained": ["db01", "web01"]}


@pytest.mark.long
def test_what_stays_is_told(scene: Operations) -> None:
    scene.keeps_its_disks("db01")
    code, text = scene.play("drain", "-e", "host=xen01")
    assert (code, scene.where()) == (2, {"xen01": ["db01"], "xen02": ["web01", "web02"], "xen03": []}), text
    assert "db01 stays: it cannot move live to xen02; to shut it down for the move is by consent: -e moves_offline=db01" in text


REFUSED = [
    (("drain",), "host: missing, allowed one host of the estate: -e host=xen01"),
    (("drain", "-e", "host=xen09"), "host: value 'xen09', allowed one host of the estate: xen01, xen02, xen03"),
    (("drain", "-e", '{"host": ["xen01"]}'), "host: value '['xen01']', allowed one host of the estate"),
    (("drain", "-e", "host=xen01", "-e", "stay=web09"), "stay: value 'web09', allowed"),
    (("drain", "-e", "host=xen01", "--limit", "xen01"), "--limit: value 'xen01', allowed none"),
    (("return", "-e", "host=xen01", "-e", "back=perhaps"), "back: value 'perhaps', allowed true or false"),
    (("rebalance", "-e", "max_moves=many"), "max_moves: value 'many', allowed a whole number from 1 to 999999"),
    (("rebalance", "-e", "rebalance_min_gain=-1"), "rebalance_min_gain: value '-1', allowed a number, 0 or more"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_refusals_come_before_anything_is_touched(scene: Operations, arguments: tuple[str, ...], message: str) -> None:
    code, text = scene.play(*arguments)
    assert (code, scene.where(), scene.marks.exists()) == (2, BEFORE, False), text
    assert message in text
    assert scene.calls("migration_lock", "xl_move", "xl_guest") == []


def test_the_only_host_cannot_be_drained(scene: Operations) -> None:
    hosts = scene.folder / "estate" / "hosts.yml"
    content = yaml.safe_load(hosts.read_text())
    content["all"]["children"]["xen_hosts"]["hosts"] = {"xen01": content["all"]["children"]["xen_hosts"]["hosts"]["xen01"]}
    hosts.write_text(yaml.safe_dump(content))
    code, text = scene.play("drain", "-e", "host=xen01")
    assert (code, scene.world["calls"]) == (2, []), text
    assert "host: value 'xen01', allowed one host of the estate: xen01, beside which there is another: it is the only one" in text


@pytest.mark.long
def test_a_host_that_is_not_fit_stays_drained(scene: Operations) -> None:
    scene.marks.write_text("xen_hosts: {hosts: {xen03: {estate_drained: []}}}\n")
    port = {"name": "eth1", "link": False, "aggregated": False}
    world = scene.world
    world["info"]["xen03"]["bonds"] = [{"name": "bond0", "mode": "active-backup", "ports": 1, "partner": None, "members": [port]}]
    scene.save(world)
    code, text = scene.play("return", "-e", "host=xen03")
    assert (code, scene.marks.exists()) == (2, True), text
    assert "xen03 stays drained: host 'xen03': bond bond0: eth1 has no link" in text


@pytest.mark.long
def test_moves_that_are_worth_it_and_then_a_rest(scene: Operations) -> None:
    # Its journal says that web02 has moved a moment ago.
    journal = scene.folder / "moves" / "xen03" / "web02.json"
    journal.parent.mkdir(parents=True)
    journal.write_text("{}")
    code, text = scene.play("rebalance", "-e", "max_moves=1")
    assert (code, scene.where()) == (0, BEFORE), text
    assert "With at most 1 moves nothing gets better" in text and "24 hours and stay: web02" in text
    assert text.count("changed=0") == 4 and scene.calls("xl_move") == [], text
    code, text = scene.play("rebalance", "-e", "max_moves=1", "-e", "rebalance_cooldown_hours=0")
    assert (code, scene.where()) == (0, {"xen01": ["db01", "web01", "web02"], "xen02": [], "xen03": []}), text
    assert "1 moves gain 1.0 hosts freed, and 1.0 are needed" in text and "step 1 (wave 1): web02 from xen02 to xen01" in text


GONE = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}


def test_guests_of_a_dead_host_start_elsewhere_and_do_not_come_back_by_themselves(scene: Operations) -> None:
    scene.inventory(xen01=GONE)
    code, text = scene.play("recover", "-e", "host=xen01", "-e", "hosts_off=xen01", "--check", "--diff")
    assert (code, scene.where()["xen02"], scene.marks.exists()) == (0, ["web02"], False), text
    # The estate has a guest that never ran, and one whose disks are on a host's own RAID.
    assert "xen01: 3 of its guests start elsewhere, 1 wait for it disk01 stays: its storage is local" in text
    code, text = scene.play("recover", "-e", "host=xen01", "-e", "hosts_off=xen01")
    assert code == 0, text
    started = sorted(guest for host in ("xen02", "xen03") for guest in scene.where()[host])
    assert started == ["db01", "new01", "web01", "web02"], text
    assert "a second time when it gets power again" in text and "systemd.mask=xendomains.service" in text
    assert yaml.safe_load(scene.marks.read_text()) == {"xen_hosts": {"hosts": {"xen01": {"estate_drained": ["db01", "new01", "web01"]}}}}
    code, text = scene.play("recover", "-e", "host=xen01", "-e", "hosts_off=xen01")
    assert (code, scene.calls("xl_guest", "xl_move")) == (0, []), text
    assert "xen01: 0 of its guests start elsewhere" in text and "a second time when it gets power again" in text
    # It is back, empty, and its links would start at the next boot what runs elsewhere by now.
    scene.inventory()
    world = scene.world
    world["hosts"]["xen01"] |= {"domains": [], "keeps": ["db01", "web01"]}
    scene.save(world)
    code, text = scene.play("return", "-e", "host=xen01")
    assert (code, scene.marks.exists(), scene.world["hosts"]["xen01"]["keeps"]) == (0, False, []), text
    assert [call["forget"] for call in scene.world["calls"] if call["module"] == "xl_move_settle"] == [["db01", "web01"]]


@pytest.mark.parametrize(("arguments", "message"), [
    ((), "hosts_off: value '', allowed xen01: -e hosts_off=xen01 says that you have seen that it has no power"),
    (("-e", "hosts_off=xen02"), "hosts_off: value 'xen02', allowed xen01"),
    (("-e", "hosts_off=xen01"), "hosts_off: value 'xen01', allowed hosts of the estate that have no power; xen01 answers"),
    (("-e", "hosts_off=xen01,xen09"), "hosts_off: value 'xen09, xen01', allowed hosts of the estate that have no power; of xen01, xen02"),
], ids=["without a word", "of another host", "it answers", "nobody knows it"])
def test_a_host_that_may_work_is_not_recovered(scene: Operations, arguments: tuple[str, ...], message: str) -> None:
    code, text = scene.play("recover", "-e", "host=xen01", *arguments)
    assert (code, scene.where(), scene.marks.exists()) == (2, BEFORE, False), text
    assert message in text
    assert scene.calls("migration_lock", "xl_move", "xl_guest") == []


@pytest.mark.long
def test_apply_believes_no_host_to_be_off_that_answers(scene: Operations) -> None:
    code, text = scene.play("drain", "-e", "host=xen01", "-e", "hosts_off=xen02,xen09")
    assert (code, scene.where()) == (2, BEFORE), text
    assert "hosts_off: value 'xen09, xen02', allowed hosts of the estate that have no power; of xen01, xen02, xen03; xen02 answers" in text


@pytest.mark.long
def test_moves_from_a_host_that_died_are_settled(scene: Operations) -> None:
    """xen01 died in the middle of a drain: db01 has arrived, and web01 is nowhere."""
    code, text = scene.play("drain", "-e", "host=xen01", "-e", "stay=web01")
    assert code == 0, text
    scene.inventory(xen01=GONE)
    code, text = scene.play("apply", "-e", f"plan_dir={scene.folder}/plan/operation", "-e", "hosts_off=xen01")
    assert (code, scene.calls("xl_move")) == (0, []), text
    code, text = scene.play("recover", "-e", "host=xen01", "-e", "hosts_off=xen01")
    assert code == 0 and "web01" in [*scene.where()["xen02"], *scene.where()["xen03"]], text
    assert yaml.safe_load(scene.marks.read_text()) == {"xen_hosts": {"hosts": {"xen01": {"estate_drained": ["db01", "new01", "web01"]}}}}


@pytest.mark.long
def test_links_go_from_a_host_that_is_not_fit_and_nothing_is_guessed(scene: Operations) -> None:
    scene.marks.write_text("xen_hosts: {hosts: {xen01: {estate_drained: [web01]}}}\n")
    world = scene.world
    port = {"name": "eth1", "link": False, "aggregated": False}
    world["info"]["xen01"]["bonds"] = [{"name": "bond0", "mode": "active-backup", "ports": 1, "partner": None, "members": [port]}]
    scene.save(world)
    scene.has("xen01", keeps=["web01"])
    scene.has("xen02", domain("db01"), domain("web01", 4), domain("web02", 5))
    scene.inventory(xen02=GONE)
    code, text = scene.play("return", "-e", "host=xen01")
    assert (code, scene.world["hosts"]["xen01"]["keeps"]) == (2, ["web01"]), text
    assert "xen01 stays drained: web01 may run on xen02, which does not answer" in text
    scene.inventory()
    code, text = scene.play("return", "-e", "host=xen01")
    assert (code, scene.world["hosts"]["xen01"]["keeps"], scene.marks.exists()) == (2, [], True), text
    assert "xen01 stays drained: host 'xen01': bond bond0: eth1 has no link" in text
