# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/apply.yml with the real estate and filters, and a stand-in for what touches hosts: order, refusals, crashes, second runs."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.moves.samples import move, plan, uuid_of

ROOT = Path(__file__).parents[2]
MODULES = ("migration_lock", "xl_move_info", "xl_move_settle", "xl_move", "xl_guest", "migration")
STAND_IN = (Path(__file__).parent / "apply_stand_in.py").read_text(encoding="utf-8")
HOSTS = ("xen01", "xen02", "xen03")
PLAN = plan(move(1, "web01", "xen01", "xen02"), move(2, "db01", "xen01", "xen02"), move(3, "web02", "xen02", "xen03", 2),
            move(4, "new01", None, "xen01", 2))


def domain(name: str, domid: int = 3, **more: Any) -> dict[str, Any]:
    return {"name": name, "domid": domid, "uuid": uuid_of(name.partition("--")[0]), "state": "running", "flags": "-b----", "seconds": 9.0,
            "memory_mib": 128, **more}


AWAY = {"state": "shutdown", "flags": "---ss-"}


class Scene:
    """A checkout's playbooks with stand-ins, an estate, a plan and a world."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world_file = folder / "world.json"
        self.save({
            "hosts": {name: {"domains": [], "keeps": [], "moving": [], "lock": None, "free_mib": 1000} for name in HOSTS},
            "fates": {}, "missing": [], "early": [], "calls": [],
        })
        self.has("xen01", domain("web01"), domain("db01", 4))
        self.has("xen02", domain("web02"))
        shutil.copytree(ROOT / "playbooks", folder / "playbooks")
        shutil.copytree(ROOT / "roles" / "migration", folder / "playbooks" / "roles" / "migration")
        (folder / "playbooks" / "roles" / "guests" / "tasks").mkdir(parents=True)
        (folder / "playbooks" / "roles" / "guests" / "tasks" / "main.yml").write_text(yaml.safe_dump([{
            "name": "Start", "xenfold.consolidation.xl_guest": {
                "guests": "{{ guests_definitions }}", "unasked": "{{ guests_unasked }}", "elsewhere": "{{ guests_elsewhere }}"}}]))
        for path in (folder / "playbooks").rglob("*.yml"):
            text = path.read_text().replace("name: xenfold.consolidation.", "name: ")
            path.write_text(re.sub(rf"xenfold\.consolidation\.({'|'.join(MODULES)}):", r"fake_\1:", text))
        (folder / "library").mkdir()
        for name in MODULES:
            text = STAND_IN.replace('"NAME"', repr(name)).replace('"WORLD"', repr(str(self.world_file)))
            (folder / "library" / f"fake_{name}.py").write_text(text)
        self.inventory()
        self.plan(PLAN)

    def inventory(self, **changes: dict[str, Any]) -> None:
        hosts = {name: {
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
            "ansible_remote_tmp": str(self.folder / "tmp" / name),
            "network_bridges": [{"name": "xenbr0", "addresses": [f"10.9.0.{number}/24"]}], **changes.get(name, {}),
        } for number, name in enumerate(HOSTS, 1)}
        group = {"estate_host": {"cpu_cores": 8, "memory_mib": 8192}, "dom0_memory_mib": 1024, "dom0_vcpus": 1}
        workloads = [{"name": name, "memory_mib": 128, "storage": "shared", "disks": [{"path": f"/dev/shared/{name}"}],
                      "networks": [{"bridge": "xenbr0"}], "demand": {"cpu_cores": 0.1}} for name in ("web01", "web02", "db01", "new01")]
        (self.folder / "estate").mkdir(exist_ok=True)
        (self.folder / "estate" / "hosts.yml").write_text(yaml.safe_dump(
            {"all": {"vars": {"estate_workloads": workloads}, "children": {"xen_hosts": {"hosts": hosts, "vars": group}}}}))

    def plan(self, the_plan: dict[str, Any]) -> None:
        (self.folder / "plan").mkdir(exist_ok=True)
        (self.folder / "plan" / "plan.json").write_text(json.dumps(the_plan))

    @property
    def world(self) -> dict[str, Any]:
        return dict(json.loads(self.world_file.read_text()))

    def save(self, world: dict[str, Any]) -> None:
        self.world_file.write_text(json.dumps(world))

    def change(self, **keys: Any) -> None:
        self.save({**self.world, **keys})

    def has(self, host: str, *domains: dict[str, Any], **keys: Any) -> None:
        world = self.world
        world["hosts"][host] |= {"domains": list(domains), "keeps": [entry["name"].partition("--")[0] for entry in domains], **keys}
        self.save(world)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Return code and text, in one line; the calls of this run alone are in the world afterwards."""
        self.change(calls=[])
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "estate", "playbooks/apply.yml",
             "-e", f"plan_dir={self.folder}/plan", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=300,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_SSH_RETRIES": "0",
                 "ANSIBLE_PIPELINING": "1",
                 "ANSIBLE_LIBRARY": str(self.folder / "library"), "USER": "eve"})
        text = " ".join((done.stdout + done.stderr).split())
        assert all(told["lock"] in (None, "other") for told in self.world["hosts"].values()), text
        return done.returncode, text

    def where(self) -> dict[str, list[str]]:
        return {host: sorted(entry["name"] for entry in told["domains"]) for host, told in self.world["hosts"].items()}

    def calls(self, *names: str) -> list[tuple[str, str]]:
        return [(call["module"], call["host"]) for call in self.world["calls"] if call["module"] in names]


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


BEFORE = {"xen01": ["db01", "web01"], "xen02": ["web02"], "xen03": []}
AFTER = {"xen01": ["new01"], "xen02": ["db01", "web01"], "xen03": ["web02"]}


def test_a_plan_is_shown_carried_out_and_done(scene: Scene) -> None:
    code, text = scene.run("--check", "--diff")
    assert code == 0, text
    assert "0 of 4 steps are done" in text
    assert "step 3 (wave 2): web02 from xen02 to xen03" in text
    assert "+move guest web01 to xen02" in text
    assert scene.where() == BEFORE
    assert all(call["check"] for call in scene.world["calls"])
    code, text = scene.run()
    assert code == 0, text
    assert scene.where() == AFTER
    assert {host: told["keeps"] for host, told in scene.world["hosts"].items()} == AFTER
    assert "step 1 of 4: web01 is on xen02, 128 MiB from xen01 in 64.2 s" in text
    assert "step 4 of 4: new01 is new on xen01" in text
    moves = [call for call in scene.world["calls"] if call["module"] == "xl_move"]
    assert [(call["host"], [(one["guest"], one["to"], one["address"]) for one in call["moves"]]) for call in moves] == [
        ("xen01", [("web01", "xen02", "10.9.0.2"), ("db01", "xen02", "10.9.0.2")]), ("xen02", [("web02", "xen03", "10.9.0.3")])]
    # The look ahead asks the way once, from each host that is to send.
    called = [(call["host"], [peer["name"] for peer in call["peers"]]) for call in scene.world["calls"]
              if call["module"] == "xl_move_info" and call.get("peers")]
    # Hosts answer in any order.
    assert sorted(called[:2]) == [("xen01", ["xen02"]), ("xen02", ["xen03"])]
    code, text = scene.run()
    assert code == 0, text
    assert text.count("changed=0") == 3
    assert scene.calls("xl_move", "xl_move_settle", "migration") == []
    assert "4 of 4 steps are done" in text


def test_a_move_that_fails_stops_the_run_after_its_wave(scene: Scene) -> None:
    scene.change(fates={"web01": "no memory"})
    code, text = scene.run()
    assert code == 2, text
    assert scene.where() == {"xen01": ["web01"], "xen02": ["db01", "web02"], "xen03": []}
    assert "step 1 of 4: web01 stays on xen01: xl migrate ended with 1, and said: no memory" in text
    assert "playbooks/plan.yml -e done_steps=2 -e failed=WORKLOAD" in text
    # What did arrive is in order.
    assert scene.world["hosts"]["xen02"]["keeps"] == ["db01", "web02"]
    scene.change(fates={})
    code, text = scene.run()
    assert (code, scene.where()) == (0, AFTER), text


def test_moves_that_end_in_the_handshake_are_judged_by_both_hosts(scene: Scene) -> None:
    scene.change(fates={"web01": "arrives and its report is lost", "db01": "the way breaks before GO"})
    code, text = scene.run()
    assert (code, scene.where()) == (2, {"xen01": ["db01"], "xen02": ["web01", "web02"], "xen03": []}), text
    assert "guest 'web01': on xen01 domain 3 (web01--migratedaway, suspended" in text
    assert "step 2 of 4: db01 stays on xen01: xl migrate ended with 1, and said: the way breaks before GO" in text
    assert {host: told["keeps"] for host, told in scene.world["hosts"].items()} == scene.where()


def test_what_a_crashed_run_left_is_settled_first(scene: Scene) -> None:
    """The controller died: one guest has arrived and left everything behind, of another the target has a copy that never ran."""
    scene.has("xen01", domain("web01--migratedaway", 3, **AWAY), domain("db01", 4), moving=["db01"])
    scene.has("xen02", domain("web01", 9), domain("web02"), domain("db01--incoming", 10, state="paused", flags="--p---", seconds=0.0))
    scene.change(early=["db01"])
    code, text = scene.run()
    assert (code, scene.where()) == (0, AFTER), text
    steps = scene.calls("xl_move", "xl_move_settle", "xl_guest")
    # It waits as often as it takes, clears the target before the source, and puts in order what is there, before it moves on.
    assert steps[:2] == [("xl_move", "xen01"), ("xl_move", "xen01")]
    assert steps[2:4] == [("xl_move_settle", "xen02"), ("xl_move_settle", "xen01")]
    assert sorted(steps[4:6]) == [("xl_guest", "xen01"), ("xl_guest", "xen02")]


def test_a_state_that_only_a_person_may_decide_stops_it_untouched(scene: Scene) -> None:
    scene.has("xen01", domain("web01--migratedaway", 3), domain("db01", 4))
    scene.has("xen02", domain("web01", 9), domain("web02"))
    before = scene.where()
    code, text = scene.run()
    assert (code, scene.where()) == (2, before), text
    assert "Nothing was moved: guest 'web01': on xen01 domain 3 (web01--migratedaway, running, 9 s of CPU time), on xen02 domain 9" in text
    assert "never let both run" in text
    assert scene.calls("xl_move", "xl_move_settle", "xl_guest") == []


def test_hosts_that_do_not_answer(scene: Scene) -> None:
    scene.inventory(xen03={"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1})
    code, text = scene.run()
    assert (code != 0, scene.where()) == (True, BEFORE), text
    assert "host 'xen03': it does not answer; new01 is new, and it is started only when every host has told" in text
    scene.plan(plan(*PLAN["moves"][:2]))
    code, text = scene.run()
    assert (code, scene.where()["xen02"]) == (0, ["db01", "web01", "web02"]), text


@pytest.mark.parametrize(("arguments", "changes", "message"), [
    (("--limit", "xen01,xen02"), {}, "host 'xen03': it is left out by --limit; new01 is new"),
    ((), {"missing": ["bridge xenbr0"]}, (
        "No move of wave 1 was begun: step 1: web01 from xen01 to xen02: xen02 has no bridge xenbr0;"
        " step 2: db01 from xen01 to xen02: xen02 has no bridge xenbr0; step 3: web02 from xen02 to xen03: xen03 has no bridge xenbr0")),
    (("-e", "plan_dir=/nowhere"), {}, "plan: value '/nowhere/plan.json', allowed the file of a plan"),
])
def test_refusals_come_before_anything_is_touched(scene: Scene, arguments: tuple[str, ...], changes: dict[str, Any], message: str) -> None:
    scene.change(**changes)
    code, text = scene.run(*arguments)
    assert (code, scene.where()) == (2, BEFORE), text
    assert message in text
    assert scene.calls("xl_move", "xl_move_settle", "xl_guest") == []


def test_room_is_looked_at_before_each_wave(scene: Scene) -> None:
    world = scene.world
    world["hosts"]["xen03"]["free_mib"] = 100
    scene.save(world)
    code, text = scene.run()
    assert (code, scene.where()) == (2, {"xen01": [], "xen02": ["db01", "web01", "web02"], "xen03": []}), text
    assert "No move of wave 2 was begun: host 'xen03': 100 MiB of memory are free" in text


def test_a_second_controller_is_told_and_touches_nothing_not_even_the_lock(scene: Scene) -> None:
    scene.has("xen02", domain("web02"), lock="other")
    scene.plan(plan(PLAN["moves"][0]))
    code, text = scene.run()
    assert (code, scene.where()) == (2, BEFORE), text
    assert "somebody holds the lock (run other)" in text
    assert scene.world["hosts"]["xen02"]["lock"] == "other"
    code, text = scene.run("-e", "break_lock=other")
    assert (code, scene.where()["xen02"]) == (0, ["web01", "web02"]), text
    assert scene.world["hosts"]["xen02"]["lock"] is None
