# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules that touch a host do for guests that move with their disks."""
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import processes, trust, units, volumes
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host

from tests.unit import command_cases
from tests.unit.moves.samples import COMING, uuid_of, volume

KEY, VOLUME_KEY = (f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJyLbn6nPZt0uSWz7nuOZeGLqJHvXH4Y1uqhDBfXcE1{end}" for end in "ab")
HOST_KEY = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDabcdefghijklmnopqrstuvwxyz0123456789"
PEER = {"name": "xen02", "addresses": ["10.9.0.2"], "public_key": KEY, "volume_key": VOLUME_KEY, "host_keys": [HOST_KEY]}
LIVE_LINE = f'restrict,from="10.9.0.2",command="/usr/sbin/xl migrate-receive" {KEY} xenfold-migration:xen02\n'
LINE = ('restrict,from="10.9.0.2",command="/usr/bin/python3 /usr/local/lib/xenfold/volume_receive.py xen02" '
        f"{VOLUME_KEY} xenfold-volumes:xen02\n")
RUN = "20261129T164305-1a2b"


@pytest.fixture(name="trust_input")
def _trust_input(tmp_path):
    (tmp_path / "ssh").mkdir()
    (tmp_path / "migration").mkdir()
    for name in ("id_ed25519", "id_ed25519_volumes"):
        (tmp_path / "migration" / name).write_text("private")
        (tmp_path / "migration" / f"{name}.pub").write_text(f"{VOLUME_KEY if 'volumes' in name else KEY} xenfold-migration\n")
    return {"key_dir": str(tmp_path / "migration"), "authorized_keys": str(tmp_path / "authorized_keys"), "ssh_dir": str(tmp_path / "ssh"),
            "program": str(tmp_path / "lib" / "move.py")}


def test_a_second_key_for_volumes_and_nothing_else(tmp_path, trust_input):
    keys = Path(trust_input["authorized_keys"])
    case = {"input": {**trust_input, "peers": [PEER], "volumes": True}}
    command_cases.run("migration", {**case, "output": {"changed": True, "public_key": KEY, "volume_key": VOLUME_KEY}})
    assert keys.read_text() == LIVE_LINE + LINE
    assert sorted(os.listdir(tmp_path / "lib")) == ["move.py", "volume_receive.py", "volume_send.py"]
    assert all(os.access(tmp_path / "lib" / name, os.X_OK) for name in os.listdir(tmp_path / "lib"))
    command_cases.run("migration", {**case, "output": {"changed": False}})
    # A plan without offline moves leaves it; a peer that is none any more loses it.
    command_cases.run("migration", {"input": {**trust_input, "peers": [PEER]}, "output": {"changed": False, "volume_key": ""}})
    assert keys.read_text() == LIVE_LINE + LINE
    command_cases.run("migration", {"input": {**trust_input, "peers": []}, "output": {"changed": True}})
    assert keys.read_text() == ""


def test_without_volumes_no_peer_gets_more(trust_input):
    command_cases.run("migration", {"input": {**trust_input, "peers": [PEER]}})
    assert Path(trust_input["authorized_keys"]).read_text() == LIVE_LINE


def test_both_keys_are_made_once(trust_input, tmp_path):
    (tmp_path / "migration" / "id_ed25519_volumes").unlink()
    key = str(tmp_path / "migration" / "id_ed25519_volumes")
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "xenfold-migration", "-f", key]
    case = {"input": {**trust_input, "volumes": True}, "output": {"changed": True}}
    shown = command_cases.run("migration", {**case, "flags": {"check": True}})
    assert [action["target"] for action in shown["actions"]] == [f"key {make[-1]}"]
    command_cases.run("migration", {**case, "run": [{"command": make}]})


def test_a_key_for_volumes_that_is_none(trust_input):
    for key in (None, "oops", VOLUME_KEY + "\nssh-rsa AAAA"):
        command_cases.run("migration", {"input": {**trust_input, "peers": [{**PEER, "volume_key": key}], "volumes": True},
                                        "output": {"failed": True}, "msg_contains": ["peers[0]: volume_key: value"]})


def test_what_a_host_tells_of_volumes(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PROC", str(tmp_path / "proc"))
    monkeypatch.setattr(xl_host, "xen_runs", lambda: False)
    monkeypatch.setattr(Runner, "tool", staticmethod(lambda name: True))
    for name in ("migration", "guests", "moves"):
        (tmp_path / name).mkdir()
    (tmp_path / "migration" / trust.VOLUME_KEY).write_text("")
    (tmp_path / "guests" / "disk01.cfg").write_text("")
    told = {"stage": "down", "phase": "moving", "from": "xen01", "to": "xen02", "step": 1, "run": RUN}
    (tmp_path / "moves" / "disk01.json").write_text(json.dumps({**told, "kind": "offline", "volumes": []}))
    (tmp_path / "moves" / "web01.json").write_text(json.dumps({"guest": "web01"}))
    call = [*trust.ssh("xen02", 22, str(tmp_path / "migration"), trust.VOLUME_KEY), "-n", "10.9.0.2", "ready"]
    places = {"key_dir": str(tmp_path / "migration"), "config_dir": str(tmp_path / "guests"), "autostart_dir": str(tmp_path / "auto"),
              "state_dir": str(tmp_path / "moves")}
    case = {"input": {"volumes": True, "volume_peers": [{"name": "xen02", "address": "10.9.0.2"}], **places}, "output": {
        "volumes": [volume("disk01-root.coming", COMING)], "groups": {"vg0": {"free_bytes": 5, "extent_bytes": 4}}, "stored": ["disk01"],
        "journals": {"disk01": told}, "resources": {}, "deaf_volumes": {}}}
    commands = [
        {"command": volumes.GROUPS, "out": json.dumps({"report": [{"vg": [{"vg_name": "vg0", "vg_free": "5", "vg_extent_size": "4"}]}]})},
        {"command": volumes.REPORT, "out": json.dumps({"report": [{"lv": [
            {"vg_name": "vg0", "lv_name": "disk01-root.coming", "lv_size": "8388608", "lv_tags": COMING, "origin": ""}]}]})}]
    command_cases.run("xl_move_info", {**case, "run": [*commands, {"command": call, "out": "xenfold volume receiver ready\n"}]})
    deaf = {"deaf_volumes": {"xen02": "ssh to 10.9.0.2 ended with 255: Permission denied"}}
    commands.append({"command": call, "rc": 255, "err": "Permission denied\n"})
    command_cases.run("xl_move_info", {**case, "output": deaf, "run": commands})


def test_the_program_that_moves_disks_counts_as_a_move(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PROC", str(tmp_path / "proc"))
    entry = tmp_path / "proc" / "9"
    entry.mkdir(parents=True)
    entry.joinpath("cmdline").write_bytes("\0".join(["/usr/bin/python3", trust.SENDER, "/var/lib/xenfold/moves/disk01.json", ""]).encode())
    assert processes.look() == (["disk01"], [])


MOVE = {"step": 1, "guest": "disk01", "uuid": uuid_of("disk01"), "to": "xen02", "address": "10.9.0.2", "mibps": 20, "shutdown_seconds": 60,
        "volumes": [{"volume_group": "vg0", "name": "disk01-root", "size_bytes": 8388608, "fresh": True}]}


@pytest.fixture(name="places")
def _places(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PROC", str(tmp_path / "proc"))
    monkeypatch.setattr(units, "_LOOK_SECONDS", 0.01)
    (tmp_path / "moves").mkdir()
    return {"key_dir": "/keys", "state_dir": str(tmp_path / "moves"), "config_dir": str(tmp_path / "guests"),
            "autostart_dir": str(tmp_path / "auto")}


def test_a_move_with_disks_is_a_unit_with_its_own_program(tmp_path, places):
    there = units.Places(**places)
    action = {"verb": "move", "target": "guest disk01", "detail": "offline, with its disks, to xen02 (step 1)"}
    case = {"input": {"host": "xen01", "run": RUN, "moves": [MOVE], **places}, "output": {"changed": True, "actions": [action]}}
    command_cases.run("xl_move", {**case, "flags": {"check": True}})
    assert os.listdir(tmp_path / "moves") == []
    command = units.unit_command("disk01", there, units.OFFLINE)
    assert command[-2:] == ["/usr/local/lib/xenfold/volume_send.py", str(tmp_path / "moves" / "disk01.json")]
    assert "--property=KillMode=process" in command
    told = command_cases.run("xl_move", {**case, "run": [{"command": command}]})["moves"][0]
    assert (told["code"], told["stage"], told["down_seconds"], told["total_bytes"]) == (None, "copying", None, 8388608)
    journal = json.loads((tmp_path / "moves" / "disk01.json").read_text())
    assert journal["command"] == [*trust.ssh("xen02", 22, "/keys", "id_ed25519_volumes"), "10.9.0.2"]
    assert (journal["mibps"], journal["shutdown_seconds"], journal["volumes"], journal["kind"]) == (20, 60, MOVE["volumes"], "offline")
    # Whoever waits gives a sign of life.
    assert (tmp_path / "moves" / "controller").exists()


def test_a_call_ends_when_there_is_something_to_tell(tmp_path, places, monkeypatch):
    there = units.Places(**places)
    monkeypatch.setattr(processes, "look", lambda: (["disk01"], []))
    (tmp_path / "moves" / "disk01.json").write_text(json.dumps(units.journal_of(MOVE, RUN, "xen01", there)))
    shown = {"pass": "first", "done_bytes": 35, "total_bytes": 100, "sent_bytes": 7}
    (tmp_path / "moves" / "disk01.progress").write_text(json.dumps(shown))
    case = {"input": {"host": "xen01", "run": RUN, "moves": [MOVE], "wait_seconds": 100, "looked": {}, **places}}
    told = command_cases.run("xl_move", {**case, "output": {"under_way": ["disk01"], "looks": {"disk01": "first 3"}}})
    assert told["progress"] == {"disk01": shown}
    case["input"] |= {"looked": {"disk01": "first 3"}, "wait_seconds": 0}
    command_cases.run("xl_move", {**case, "output": {"under_way": ["disk01"]}})


@pytest.mark.parametrize(("consents", "alive"), [(None, True), ("all", True), (["disk01", "web01"], True), ("[web01]", False), ([], False)])
def test_a_run_without_consent_gives_no_sign_of_life(tmp_path, places, monkeypatch, consents, alive):
    """Else the guest whose copy an earlier run began would be shut down by one that must not."""
    there = units.Places(**places)
    monkeypatch.setattr(processes, "look", lambda: (["disk01"], []))
    (tmp_path / "moves" / "disk01.json").write_text(json.dumps(units.journal_of(MOVE, "an-earlier-run", "xen01", there)))
    given = {} if consents is None else {"consents": consents}
    command_cases.run("xl_move", {"input": {"host": "xen01", "run": RUN, "wait_seconds": 0, **given, **places},
                                  "output": {"under_way": ["disk01"]}})
    assert (tmp_path / "moves" / "controller").exists() == alive


@pytest.mark.parametrize(("change", "text"), [
    ({"mibps": -1}, "mibps: value -1, allowed 0 or more"),
    ({"shutdown_seconds": 0}, "shutdown_seconds: value 0, allowed 1 or more"),
    ({"volumes": [{**MOVE["volumes"][0], "name": "web01-root"}]}, "name: value 'web01-root', allowed the volume of a disk of the guest"),
    ({"volumes": [{**MOVE["volumes"][0], "volume_group": "../x"}]}, "volume_group: value '../x'"),
    ({"volumes": [{**MOVE["volumes"][0], "size_bytes": 0}]}, "size_bytes: value 0"),
])
def test_bad_options_of_a_move_with_disks(places, change, text):
    command_cases.run("xl_move", {"input": {"host": "xen01", "run": RUN, "moves": [{**MOVE, **change}], **places},
                                  "output": {"failed": True}, "msg_contains": [text]})
