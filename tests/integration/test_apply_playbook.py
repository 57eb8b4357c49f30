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
MODULES = ("migration_lock", "xl_move_info", "xl_move_settle", "xl_move", "xl_guest", "migration", "volume_settle")
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
        # A host that cannot give its lock back.
        self.silent = ""
        self.world_file = folder / "world.json"
        self.save({
            "hosts": {name: {"domains": [], "keeps": [], "moving": [], "lock": None, "free_mib": 1000, "free_bytes": 2**30, "volumes": [],
                             "journals": {}} for name in HOSTS},
            "fates": {}, "during_moves": "", "missing": [], "early": [], "looks": [], "calls": [],
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
        group = {"estate_host": {"cpu_cores": 8, "memory_mib": 8192}, "dom0_memory_mib": 1024, "dom0_vcpus": 1,
                 "storage_arrays": [{"name": "guests", "level": 1, "members": [
                     {"id": f"ata-{number}", "serial": f"{{{{ inventory_hostname }}}}-{number}", "size_gib": 10, "iops": 100}
                     for number in (1, 2)]}],
                 "storage_volume_groups": [{"name": "vg0", "devices": ["/dev/md/guests"]}]}
        workloads = [{"name": name, "memory_mib": 128, "storage": "shared", "disks": [{"path": f"/dev/shared/{name}"}],
                      "networks": [{"bridge": "xenbr0"}], "demand": {"cpu_cores": 0.1}} for name in ("web01", "web02", "db01", "new01")]
        workloads.append({"name": "disk01", "memory_mib": 128, "networks": [{"bridge": "xenbr0"}], "demand": {"cpu_cores": 0.1}, "disks": [
            {"name": name, "size_gib": 0.01, "volume_group": "vg0"} for name in ("root", "data")]})
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
        assert all(told["lock"] in (None, "other") for host, told in self.world["hosts"].items() if host != self.silent), text
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
    # Their disks can be reached from every host, so each asks the others before it starts one; that they answer is tried at once.
    trusted = [call for call in scene.world["calls"] if call["module"] == "migration" and not call["check"]]
    assert {frozenset(call.get("guard", ())) for call in trusted} == {frozenset(name for names in AFTER.values() for name in names)}
    assert sorted((call["host"], sorted(call["ask"])) for call in trusted if call.get("ask")) == [
        (host, sorted(set(AFTER) - {host})) for host in sorted(AFTER)]
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


@pytest.mark.long
def test_a_wave_that_only_starts_guests_is_not_asked_what_became_of_moves(scene: Scene) -> None:
    scene.has("xen01")
    scene.has("xen02", domain("db01"), domain("web01"))
    scene.has("xen03", domain("web02"))
    code, text = scene.run()
    assert (code, scene.where()) == (0, AFTER), text
    asked = [call for call in scene.world["calls"] if call["module"] == "xl_move_info"]
    assert asked and {str(call.get("quiet_seconds") or 0) for call in asked} == {"0"}


@pytest.mark.long
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


@pytest.mark.long
def test_moves_that_end_in_the_handshake_are_judged_by_both_hosts(scene: Scene) -> None:
    scene.change(fates={"web01": "arrives and its report is lost", "db01": "the way breaks before GO"})
    code, text = scene.run()
    assert (code, scene.where()) == (2, {"xen01": ["db01"], "xen02": ["web01", "web02"], "xen03": []}), text
    assert "guest 'web01': on xen01 domain 3 (web01--migratedaway, suspended" in text
    assert "step 2 of 4: db01 stays on xen01: xl migrate ended with 1, and said: the way breaks before GO" in text
    assert {host: told["keeps"] for host, told in scene.world["hosts"].items()} == scene.where()


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


# Guests with disks of their host

OFFLINE = plan({**move(1, "disk01", "xen01", "xen02"), "method": "offline", "downtime_seconds": 42.0})
CONSENT = ("-e", "moves_offline=disk01")
SIZE = 12 * 2**20


def disks(suffix: str = "", tag: str = "", *names: str) -> list[dict[str, Any]]:
    return [{"name": f"disk01-{name}{suffix}", "size_bytes": SIZE, "tags": [tag] if tag else []} for name in names or ("root", "data")]


MOVED = "xenfold.moved=disk01:xen02:20261129T164305Z"
HANDED_OVER = {"disk01-data": [], "disk01-root": []}


@pytest.fixture(name="local")
def _local(tmp_path: Path) -> Scene:
    """disk01 runs on xen01, whose volumes it has, and goes to xen02."""
    scene = Scene(tmp_path)
    scene.plan(OFFLINE)
    scene.has("xen02")
    scene.has("xen01", domain("disk01", 5), volumes=disks())
    return scene


def volumes(scene: Scene, host: str) -> dict[str, list[str]]:
    return {volume["name"]: volume["tags"] for volume in sorted(scene.world["hosts"][host]["volumes"], key=lambda volume: volume["name"])}


def at_home(scene: Scene) -> bool:
    return scene.where()["xen01"] == ["disk01"] and volumes(scene, "xen01") == HANDED_OVER and scene.where()["xen02"] == []


def arrived(scene: Scene) -> bool:
    """It runs there alone, from disks that are like any others, and what it left behind is marked as that."""
    left = volumes(scene, "xen01")
    return (scene.where() == {"xen01": [], "xen02": ["disk01"], "xen03": []} and volumes(scene, "xen02") == HANDED_OVER
            and sorted(left) == ["disk01-data.moved", "disk01-root.moved"]
            and all(len(tags) == 1 and tags[0].startswith("xenfold.moved=disk01:xen02:") for tags in left.values())
            and scene.world["hosts"]["xen01"]["keeps"] == [] and scene.world["hosts"]["xen02"]["keeps"] == ["disk01"])


def test_an_offline_move_needs_consent_and_a_preview_shows_it(local: Scene) -> None:
    code, text = local.run()
    assert code == 2, text
    assert ("Nothing was moved: step 1: disk01 goes offline from xen01 to xen02, with about 42 s of downtime if nothing of its disks could"
            " be copied before; by consent: -e moves_offline=disk01") in text
    assert at_home(local)
    assert local.calls("volume_settle", "xl_move", "migration") == []
    code, text = local.run("--check", "--diff")
    assert code == 0, text
    assert "disk01 from xen01 to xen02, offline, down for about 42.0 s or less" in text
    assert "needs consent: step 1: disk01" in text
    assert "+create volume vg0/disk01-root.coming: 0.0117188 GiB, to be filled by xen01" in text
    assert at_home(local)
    code, text = local.run("-e", "moves_offline=disk02")
    assert code == 2, text
    assert "moves_offline: value 'disk02', allowed all, or a list of guests of the estate" in text


@pytest.mark.parametrize("consent", ["all", *(pytest.param(text, marks=pytest.mark.long) for text in ("[disk01,web01]", '["disk01"]'))])
def test_a_guest_moves_with_its_disks(local: Scene, consent: str) -> None:
    local.change(looks=[{"disk01": "first 1"}, {"disk01": "first 2"}, {"disk01": "second 9"}])
    code, text = local.run("-e", f"moves_offline={consent}", "-e", "moves_mibps=50")
    assert code == 0, text
    assert arrived(local), (local.where(), local.world["hosts"])
    assert "disk01: first pass, 10 of 100 bytes, 4 of them sent" in text
    assert text.count("10 of 100 bytes") == 3
    assert "step 1 of 1: disk01 is handed over to xen02, 0.01 GiB of disks from xen01 in 64.2 s, 4.0 MiB of them while it was down" in text
    assert re.search(r"disk01 was down for [0-9.]+ s, from its shutdown on xen01 to its start \(planned: 42.0 s\)", text), text
    begun = next(call for call in local.world["calls"] if call["module"] == "xl_move")["moves"][0]
    assert (begun["mibps"], begun["shutdown_seconds"], begun["address"]) == (50, 300, "10.9.0.2")
    assert begun["volumes"] == [{"volume_group": "vg0", "name": f"disk01-{name}", "size_bytes": SIZE, "fresh": True}
                                for name in ("data", "root")]
    assert {call["volumes"] for call in local.world["calls"] if call["module"] == "migration"} == {True}
    # A guest with disks of its host alone is none that another host could start.
    assert all("disk01" not in call.get("guard", ()) for call in local.world["calls"] if call["module"] == "migration")
    code, text = local.run()
    assert code == 0, text
    assert text.count("changed=0") == 3
    assert "1 of 1 steps are done" in text


@pytest.mark.long
@pytest.mark.parametrize(("fate", "message"), [
    ("it does not shut down", "disk01 stays on xen01: its move ended with 1, and said: it does not shut down"),
    ("the host dies in the second pass", "disk01 is down and starts again on xen01: its unit was killed"),
    ("arrives and does not start", "back where they came from, as they did not start: disk01"),
])
def test_whatever_fails_leaves_it_running_at_home_and_the_next_run_goes_on(local: Scene, fate: str, message: str) -> None:
    local.change(fates={"disk01": fate})
    code, text = local.run(*CONSENT)
    assert code == 2, text
    assert message in text
    assert at_home(local), (local.where(), volumes(local, "xen01"))
    assert volumes(local, "xen02") == {f"disk01-{name}.coming": ["xenfold.coming=disk01:xen01"] for name in ("data", "root")}
    local.change(fates={})
    code, text = local.run(*CONSENT)
    assert (code, arrived(local)) == (0, True), text
    begun = next(call for call in local.world["calls"] if call["module"] == "xl_move")["moves"][0]
    assert [volume["fresh"] for volume in begun["volumes"]] == [False, False]


@pytest.mark.long
def test_a_hand_over_that_was_cut_off_is_finished_in_the_same_run(local: Scene) -> None:
    local.change(fates={"disk01": "the host dies after the first rename"})
    code, text = local.run(*CONSENT)
    assert (code, arrived(local)) == (0, True), text


COMING, COMPLETE = "xenfold.coming=disk01:xen01", "xenfold.complete=disk01:xen01"
CRASHES = [
    ("while it was down", disks(), disks(".coming", COMING), "xen01"),
    ("after the target was complete, before the first rename", disks(), disks(".coming", COMPLETE), "xen01"),
    ("between the renames of the source", [*disks(".moved", MOVED, "root"), *disks("", "", "data")], disks(".coming", COMPLETE), "xen02"),
    ("after those of the source", disks(".moved", MOVED), disks(".coming", COMPLETE), "xen02"),
    ("between those of the target", disks(".moved", MOVED), [*disks("", COMPLETE, "root"), *disks(".coming", COMPLETE, "data")], "xen02"),
    ("before it was started there", disks(".moved", MOVED), disks("", COMPLETE), "xen02"),
    ("on its way back", disks(".moved", MOVED), disks(".coming", COMING), "xen01"),
    ("between the renames of the way back", [*disks(".moved", MOVED, "root"), *disks("", "", "data")], disks(".coming", COMING), "xen01"),
]


@pytest.mark.long
@pytest.mark.parametrize(("source", "target", "owner"), [case[1:] for case in CRASHES], ids=[case[0] for case in CRASHES])
def test_a_crash_is_settled_by_what_is_on_the_disks(local: Scene, source: Any, target: Any, owner: str) -> None:
    """Nothing runs, and the journal of the source says that the guest was shut down for its move."""
    local.has("xen01", volumes=source, keeps=["disk01"], journals={"disk01": {"stage": "down", "to": "xen02"}})
    local.has("xen02", volumes=target)
    # Without consent to the step, so that no more happens than what puts the crash right.
    code, text = local.run()
    assert code == (0 if owner == "xen02" else 2), text
    assert (arrived if owner == "xen02" else at_home)(local), (local.where(), volumes(local, "xen01"), volumes(local, "xen02"))


def test_one_that_has_run_there_and_was_shut_down_stays_down_with_its_data(local: Scene) -> None:
    local.has("xen01", volumes=disks(".moved", MOVED), journals={"disk01": {"stage": "down", "to": "xen02"}})
    local.has("xen02", volumes=disks())
    code, text = local.run(*CONSENT)
    assert (code, local.where(), volumes(local, "xen02")) == (0, {"xen01": [], "xen02": [], "xen03": []}, HANDED_OVER), text


@pytest.mark.long
def test_one_that_an_earlier_run_handed_over_goes_back_by_consent_alone(local: Scene) -> None:
    """It may have run there since."""
    taken = {f"disk01-{name}": [COMPLETE] for name in ("data", "root")}
    local.has("xen01", volumes=disks(".moved", MOVED))
    local.has("xen02", volumes=disks("", COMPLETE))
    local.change(fates={"disk01": "arrives and does not start"})
    code, text = local.run()
    assert (code, local.where()["xen01"], local.where()["xen02"], volumes(local, "xen02")) == (2, [], [], taken), text
    assert "down where their disks are: disk01. Put right what keeps them from starting and run this again, or take them back" in text
    assert "-e moves_back=disk01" in text
    code, text = local.run("-e", "moves_back=disk02")
    assert (code, "moves_back: value 'disk02', allowed guests of the estate" in text, local.calls("xl_guest")) == (2, True, []), text
    code, text = local.run("-e", "moves_back=[disk01]")
    assert (code, at_home(local)) == (2, True), text
    assert "back where they came from, as they did not start: disk01" in text
    assert local.world["hosts"]["xen02"]["keeps"] == []


@pytest.mark.long
@pytest.mark.parametrize(("host", "target"), [("xen03", "disks that are complete and no domain"), ("xen02", "what nobody could ask")])
def test_a_host_that_falls_silent_after_the_moves_is_told_with_the_guest(local: Scene, host: str, target: str) -> None:
    silent, way = local.folder / "silent", local.folder / "way"
    way.write_text(f'#!/bin/sh\ntest ! -e {silent} || exit 255\nfor last; do :; done\nexec sh -c "$last"\n')
    way.chmod(0o755)
    local.inventory(**{host: {"ansible_connection": "ssh", "ansible_ssh_executable": str(way)}})
    local.change(during_moves=str(silent))
    local.silent = host
    code, text = local.run(*CONSENT)
    assert code == 2, text
    assert f"on xen01 disks that were handed over and no domain, on xen02 {target}. Nothing was done with it: {host}" in text
    assert f"{host} could not be asked whether it runs there" in text or f"{host} told nothing" in text
    # It has booted, and its lock is gone.
    local.change(during_moves="")
    local.change(hosts={**local.world["hosts"], host: {**local.world["hosts"][host], "lock": None}})
    local.silent = ""
    silent.unlink()
    code, text = local.run(*CONSENT)
    assert (code, arrived(local)) == (0, True), text


@pytest.mark.long
def test_what_a_guest_left_behind_goes_by_consent_once_it_is_old_enough(local: Scene) -> None:
    local.plan(plan())
    local.has("xen01", volumes=disks(".moved", "xenfold.moved=disk01:xen02:20200101T000000Z"))
    local.has("xen02", domain("disk01", 9), volumes=disks())
    code, text = local.run("-e", "moves_forget=disk01", "-e", "moves_keep_days=100000")
    assert code == 2, text
    assert "Nothing was removed, and no move begun: moves_forget: disk01: xen01 keeps vg0/disk01-data.moved, vg0/disk01-root.moved" in text
    code, text = local.run("-e", "moves_forget=disk01")
    assert (code, volumes(local, "xen01")) == (0, {}), text
    assert volumes(local, "xen02") == HANDED_OVER
