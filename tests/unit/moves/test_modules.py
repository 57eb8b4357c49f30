# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules that touch a host, in folders of their own and against recorded commands; a move itself runs for real, with a false xl."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import facts, lock, processes, program, settle, trust, units
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host

from tests.unit import command_cases
from tests.unit.moves.samples import PAUSED, RUNNING, SUSPENDED, copy, table, uuid_of

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJyLbn6nPZt0uSWz7nuOZeGLqJHvXH4Y1uqhDBfXcE1a"
HOST_KEY = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDabcdefghijklmnopqrstuvwxyz0123456789"
PEER = {"name": "xen02", "addresses": ["10.9.0.2", "192.0.2.2"], "public_key": KEY, "host_keys": [HOST_KEY]}
LINE = f'restrict,from="10.9.0.2,192.0.2.2",command="/usr/sbin/xl migrate-receive" {KEY} xenfold-migration:xen02\n'
XL_LIST = ["xl", "list", "-v"]
RUN = "20261129T164305-1a2b"


def listed(*copies):
    return {"command": XL_LIST, "out": table(*copies)}


# Trust

@pytest.fixture(name="trust_input")
def _trust_input(tmp_path):
    (tmp_path / "ssh").mkdir()
    (tmp_path / "ssh" / "ssh_host_rsa_key.pub").write_text(f"{HOST_KEY} root@xen01\n")
    return {"key_dir": str(tmp_path / "migration"), "authorized_keys": str(tmp_path / "root" / "authorized_keys"),
            "ssh_dir": str(tmp_path / "ssh"), "program": str(tmp_path / "lib" / "move.py")}


def test_the_key_is_made_once(tmp_path, trust_input, monkeypatch):
    key = tmp_path / "migration" / "id_ed25519"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "xenfold-migration", "-f", str(key)]
    told = {"public_key": "", "host_keys": [HOST_KEY], "changed": True}
    command_cases.run("migration", {"input": trust_input, "flags": {"check": True}, "output": told})
    assert not key.parent.exists()
    command_cases.run("migration", {"input": trust_input, "run": [{"command": make}], "output": told})
    assert key.parent.stat().st_mode & 0o777 == 0o700
    # One half of the pair is no key, nor is one that was lost.
    key.write_text("private")
    command_cases.run("migration", {"input": trust_input, "run": [{"command": make}]})
    for lost in ("", "\0" * 400):
        key.write_text(lost)
        Path(f"{key}.pub").write_text(f"{KEY} xenfold-migration\n")
        command_cases.run("migration", {"input": trust_input, "run": [{"command": make}]})
    key.write_text("private")
    Path(f"{key}.pub").write_text(f"{KEY} xenfold-migration\n")
    command_cases.run("migration", {"input": trust_input, "output": {"changed": False, "public_key": KEY, "actions": []}})


def test_peers_are_let_in_and_nobody_else_is_touched(tmp_path, trust_input):
    key = tmp_path / "migration" / "id_ed25519"
    key.parent.mkdir()
    key.write_text("private")
    Path(f"{key}.pub").write_text(f"{KEY} xenfold-migration\n")
    keys = Path(trust_input["authorized_keys"])
    keys.parent.mkdir()
    others = f"# somebody's\n{KEY} admin@example  \n"
    # The last line has no end, and one peer is gone.
    keys.write_text(f"{others}{LINE.replace('xen02', 'xen09')}ssh-rsa AAAA backup")
    keys.chmod(0o640)
    shown = command_cases.run("migration", {"input": {**trust_input, "peers": [PEER]}, "flags": {"check": True, "diff": True},
                                            "output": {"changed": True}})
    assert "xen09" in keys.read_text()
    assert [entry["after_header"] for entry in shown["diff"]] == [
        str(key.parent / "known_hosts"), str(keys), trust_input["program"]]
    command_cases.run("migration", {"input": {**trust_input, "peers": [PEER]}, "output": {"actions": shown["actions"]}})
    assert keys.read_text() == f"{others}ssh-rsa AAAA backup\n{LINE}"
    assert keys.stat().st_mode & 0o777 == 0o640
    assert (key.parent / "known_hosts").read_text() == f"xen02 {HOST_KEY}\n"
    assert os.access(trust_input["program"], os.X_OK)
    command_cases.run("migration", {"input": {**trust_input, "peers": [PEER]}, "output": {"changed": False, "diff": []}})
    # One that told nothing keeps what it has; without peers all lines of ours go.
    silent = {"name": "xen02", "addresses": [], "asked": False}
    command_cases.run("migration", {"input": {**trust_input, "peers": [silent]}, "output": {"changed": False}})
    command_cases.run("migration", {"input": {**trust_input, "peers": []}, "output": {"changed": True}})
    assert keys.read_text() == f"{others}ssh-rsa AAAA backup\n"


def test_a_preview_on_bare_hosts_shows_keys_as_to_be_made(tmp_path, trust_input):
    bare = {"name": "xen02", "addresses": ["10.9.0.2"], "public_key": "", "host_keys": []}
    shown = command_cases.run("migration", {"input": {**trust_input, "peers": [bare]}, "flags": {"check": True, "diff": True}})
    assert [action["verb"] for action in shown["actions"]] == ["make", "write", "write", "write"]
    assert "(key to be made) xenfold-migration:xen02" in shown["diff"][2]["after"]
    assert sorted(os.listdir(tmp_path)) == ["ssh"]
    command_cases.run("migration", {"input": {**trust_input, "peers": [bare]}, "output": {"failed": True},
                                    "msg_contains": ["peers[0]: public_key: value '', allowed a public key"]})


@pytest.mark.parametrize(("change", "text"), [
    ({"name": "xen02 x"}, "peers[0]: host: value 'xen02 x'"),
    ({"addresses": ['10.9.0.2",command="sh']}, "peers[0]: addresses: value"),
    ({"addresses": []}, "peers[0]: addresses: value [], allowed one or more"),
    ({"public_key": KEY + "\nssh-rsa AAAA"}, "peers[0]: public_key: value"),
    ({"host_keys": ["oops"]}, "peers[0]: host_keys: value 'oops'"),
])
def test_peers_that_would_open_more_than_they_should(trust_input, change, text):
    command_cases.run("migration", {"input": {**trust_input, "peers": [{**PEER, **change}]}, "output": {"failed": True},
                                    "msg_contains": [text]})


def test_an_option_of_a_peer_that_nobody_knows():
    assert trust.check_peers([{**PEER, "adress": "x"}]) == [
        "peers[0]: adress: unknown key, allowed name, address, addresses, port, public_key, volume_key, guard_key, host_keys, asked, sends"]


def test_only_lines_that_are_ours():
    text = f"# {LINE}{LINE}{KEY} xenfold-migration:\n"
    assert trust.peers_in(text) == ["", "xen02"]
    assert trust.authorized_keys(text, []) == f"# {LINE}"


# The lock

@pytest.fixture(name="lock_input")
def _lock_input(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PROC", str(tmp_path / "proc"))
    return {"run": RUN, "by": "root@control", "since": "today", "path": str(tmp_path / "run" / "apply.lock")}


def test_the_lock_is_had_by_one(lock_input, tmp_path):
    other = {**lock_input, "run": "other", "by": "eve@laptop"}
    command_cases.run("migration_lock", {"input": lock_input, "flags": {"check": True}, "output": {"held": False, "changed": False}})
    assert not Path(lock_input["path"]).exists()
    command_cases.run("migration_lock", {"input": lock_input, "output": {"held": True, "changed": False}})
    command_cases.run("migration_lock", {"input": lock_input, "output": {"held": True}})
    refused = (f"root@control carries out a plan since today (run {RUN}). Wait for its end. When that controller is dead for certain:"
               f" -e break_lock={RUN}")
    for flags in ({}, {"check": True}):
        command_cases.run("migration_lock", {"input": other, "flags": flags, "output": {"failed": True, "msg": refused}})
    command_cases.run("migration_lock", {"input": {**other, "break_run": "wrong"}, "output": {"failed": True},
                                         "msg_contains": ["break_lock: value 'wrong', allowed 20261129T164305-1a2b"]})
    # Not that of another run.
    command_cases.run("migration_lock", {"input": {**other, "state": "absent"}})
    assert lock.read(lock_input["path"])["run"] == RUN
    command_cases.run("migration_lock", {"input": {**lock_input, "state": "absent"}, "output": {"changed": False}})
    command_cases.run("migration_lock", {"input": {**lock_input, "state": "absent"}, "output": {"changed": False}})
    assert os.listdir(tmp_path / "run") == []


def test_the_lock_of_a_dead_controller_is_broken_by_its_name_and_never_while_a_guest_moves(lock_input, tmp_path):
    lock.take(lock_input["path"], {**lock_input, "run": "dead"})
    case = {"input": {**lock_input, "break_run": "dead"}}
    process(tmp_path, 7, ["python3", trust.PROGRAM, "/var/lib/xenfold/moves/web01.json"])
    command_cases.run("migration_lock", {**case, "output": {"failed": True}, "msg_contains": ["and web01 moves right now"]})
    (tmp_path / "proc" / "7" / "cmdline").unlink()
    command_cases.run("migration_lock", {**case, "output": {"held": True}})
    assert lock.read(lock_input["path"])["run"] == RUN


def test_a_lock_that_cannot_be_read_is_somebody_s(lock_input):
    Path(lock_input["path"]).parent.mkdir()
    Path(lock_input["path"]).write_text("")
    command_cases.run("migration_lock", {"input": lock_input, "output": {"failed": True}, "msg_contains": ["-e break_lock=unknown"]})


def test_of_many_at_once_one_has_the_lock(lock_input):
    had = []

    def take(number):
        if lock.take(lock_input["path"], {**lock_input, "run": str(number)}) is None:
            had.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(had) == 1
    assert lock.read(lock_input["path"])["run"] == str(had[0])


# What a host tells

def process(folder, number, words, stdin="/dev/null"):
    entry = folder / "proc" / str(number)
    (entry / "fd").mkdir(parents=True, exist_ok=True)
    (entry / "cmdline").write_bytes("\0".join([*words, ""]).encode())
    (entry / "fd" / "0").symlink_to(stdin)


def test_moves_that_work_right_now(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PROC", str(tmp_path / "proc"))
    process(tmp_path, 1, ["/sbin/init"])
    process(tmp_path, 2, ["/usr/lib/xen-4.17/bin/xl", "migrate", "-s", "ssh -F none", "web01", "10.9.0.2"])
    process(tmp_path, 3, ["python3", trust.PROGRAM, "/var/lib/xenfold/moves/db01.json"])
    process(tmp_path, 4, ["xl", "migrate-receive"], "pipe:[77]")
    # The monitor of a guest that has arrived, a shell around a receiver, and others.
    process(tmp_path, 5, ["xl", "migrate-receive"])
    process(tmp_path, 6, ["bash", "-c", "xl migrate-receive"], "pipe:[77]")
    process(tmp_path, 7, ["xl", "list"])
    process(tmp_path, 8, [])
    assert processes.look() == (["db01", "web01"], [4])


def test_all_processes_are_looked_at_only_when_one_of_a_move_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PROC", str(tmp_path / "proc"))
    looks = []
    every = processes._programs
    monkeypatch.setattr(processes, "_programs", lambda: looks.append(1) or every())
    process(tmp_path, 2, ["python3", trust.PROGRAM, "/var/lib/xenfold/moves/web01.json"])
    process(tmp_path, 3, ["xl", "migrate", "web01", "10.9.0.2"])
    watch = processes.Watch()
    for _second in range(3):
        assert watch.under_way(["web01"]) == ["web01"]
    assert len(looks) == 1
    # xl is over, and the program around it goes on.
    shutil.rmtree(tmp_path / "proc" / "3")
    assert watch.under_way(["web01"]) == ["web01"]
    process(tmp_path, 4, ["python3", trust.PROGRAM, "/var/lib/xenfold/moves/db01.json"])
    assert watch.under_way(["web01", "db01"]) == ["web01", "db01"]
    # Another process has its number.
    (tmp_path / "proc" / "2" / "cmdline").write_bytes(b"/sbin/init\0")
    assert watch.under_way(["web01", "db01"]) == ["db01"]
    assert watch.under_way(["db01"]) == ["db01"]
    assert len(looks) == 4


def test_what_a_host_tells(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PROC", str(tmp_path / "proc"))
    monkeypatch.setattr(xl_host, "xen_runs", lambda: True)
    monkeypatch.setattr(xl_host, "xen_version", lambda: "4.17.7")
    monkeypatch.setattr(xl_host, "missing", lambda needs: frozenset(needs) - {"bridge xenbr0"})
    config = {"c_info": {"type": "pvh", "name": "web01"}, "pcidevs": [{"domain": 0, "bus": 3, "dev": 0, "func": 1}],
              "b_info": {"max_vcpus": 2, "max_memkb": 262144, "target_memkb": 131072, "vnuma_nodes": [{}]}}
    for name in ("migration", "auto", "guests"):
        (tmp_path / name).mkdir()
    (tmp_path / "migration" / "id_ed25519").write_text("")
    (tmp_path / "guests" / "old01.cfg").write_text("")
    (tmp_path / "auto" / "10-web01").symlink_to("/etc/xen/guests/web01.cfg")
    ssh = trust.ssh("xen02", 22, str(tmp_path / "migration"))
    peers = [{"name": "xen02", "address": "10.9.0.2"}, {"name": "xen03", "address": "10.9.0.3", "port": 2222}]
    command_cases.run("xl_move_info", {
        "input": {"needs": ["bridge xenbr0", "disk /dev/vg0/web01-root"], "peers": peers, "key_dir": str(tmp_path / "migration"),
                  "config_dir": str(tmp_path / "guests"), "autostart_dir": str(tmp_path / "auto")},
        "run": [listed(copy("web01"), copy("db01--incoming", PAUSED, 0, 9, of="db01")),
                {"command": ["xl", "info"], "out": "free_memory            : 700\nvirt_caps              : pv hvm hap\n"},
                {"command": ["xl", "list", "-l"], "out": json.dumps([{"domid": 3, "config": config}])},
                {"command": [*ssh, "-n", "10.9.0.2", "xl", "migrate-receive"], "rc": 1,
                 "out": "xl migration receiver ready, send binary domain data.\n"},
                {"command": [*trust.ssh("xen03", 2222, str(tmp_path / "migration")), "-n", "10.9.0.3", "xl", "migrate-receive"], "rc": 255,
                 "err": "root@10.9.0.3: Permission denied (publickey).\n"}],
        "output": {
            "changed": False, "xen": True, "free_mib": 700, "virt_caps": ["pv", "hvm", "hap"], "moving": [], "receiving": [],
            "guests": {"db01": "paused", "web01": "running"}, "keeps": ["old01", "web01"], "missing": ["disk /dev/vg0/web01-root"],
            "sizes": {"web01": {"type": "pvh", "memory_mib": 128, "maxmem_mib": 256, "maxvcpus": 2, "pci": ["0000:03:00.1"],
                                "vnuma": True}},
            "domains": [vars(copy("web01")), vars(copy("db01--incoming", PAUSED, 0, 9, of="db01"))],
            "deaf": {"xen03": "ssh to 10.9.0.3 ended with 255: root@10.9.0.3: Permission denied (publickey)."},
        },
    })


def test_a_host_without_xen_or_key_is_asked_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PROC", str(tmp_path / "proc"))
    monkeypatch.setattr(xl_host, "xen_runs", lambda: False)
    places = {"key_dir": str(tmp_path), "config_dir": str(tmp_path / "none"), "autostart_dir": str(tmp_path / "none")}
    command_cases.run("xl_move_info", {"input": {"peers": [{"name": "xen02", "address": "10.9.0.2"}], **places}, "flags": {"check": True},
                                       "output": {"xen": False, "xen_version": "", "domains": [], "deaf": {}, "keeps": []}})
    command_cases.run("xl_move_info", {"input": {"needs": ["oops"], "peers": [{"name": "x y", "address": "a"}]}, "output": {"failed": True},
                                       "msg_contains": ["needs: value 'oops'", "host: value 'x y'", "address: value 'a'"]})


def test_a_receiver_gets_the_time_to_end(tmp_path, monkeypatch):
    answers = [([], [4]), ([], [4]), ([], [])]
    seconds = iter(range(100))
    monkeypatch.setattr(processes, "look", lambda: answers.pop(0))
    monkeypatch.setattr(facts.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(facts.time, "sleep", lambda _seconds: None)
    assert facts._quiet(60) == ([], [])
    answers[:] = [([], [4])] * 9
    assert facts._quiet(3) == ([], [4])


# Moves

@pytest.fixture(name="places")
def _places(tmp_path, monkeypatch):
    """A host whose systemd-run begins the carried program for real, with an xl that does as `script` says."""
    for name in ("guests", "auto", "moves", "bin"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(units, "_LOOK_SECONDS", 0.05)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return {"key_dir": "/keys", "state_dir": str(tmp_path / "moves"), "config_dir": str(tmp_path / "guests"),
            "autostart_dir": str(tmp_path / "auto")}


def script(tmp_path, body):
    path = tmp_path / "bin" / "xl"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


class Systemd:
    """Begins units as processes, and tells which of them live."""

    def __init__(self):
        self.alive: dict[str, subprocess.Popen[bytes]] = {}
        self.begun: list[list[str]] = []
        self.most = 0

    def change(self, argv):
        self.begun.append(argv)
        journal = argv[-1]
        self.alive[Path(journal).stem] = subprocess.Popen([sys.executable, program.__file__, journal])
        self.most = max(self.most, len(self.moving()))

    def moving(self):
        return [guest for guest, process in self.alive.items() if process.poll() is None]


def wave(*guests):
    return [{"step": number, "guest": guest, "uuid": uuid_of(guest), "to": "xen02", "address": "10.9.0.2", "port": 22}
            for number, guest in enumerate(guests, 1)]


def begin(places, moves, systemd, run=RUN, at_once=2, wait_seconds=20):
    there = units.Places(**places)
    moving = systemd.moving()
    found = units.plan(moves, run, "xen01", there, moving, {move["guest"]: units.read_journal(there, move["guest"]) for move in moves})
    return found, units.carry_out(systemd, found, there, at_once, wait_seconds, lambda _guests: systemd.moving()), there


def test_a_move_that_arrives_takes_its_link_and_configuration_away(tmp_path, places):
    script(tmp_path, f'printf "%s\\n" "$@" > {tmp_path}/asked\n'
                     'printf "xc: progress: 10%%\\r50%%\\rMigration successful.\\n" >&2')
    (tmp_path / "guests" / "web01.cfg").write_text("")
    (tmp_path / "guests" / "web011.cfg").write_text("")
    for link, target in (("10-web01", "web01.cfg"), ("web01.cfg", "other.cfg"), ("20-web011", "web011.cfg")):
        (tmp_path / "auto" / link).symlink_to(tmp_path / "guests" / target)
    systemd = Systemd()
    _found, left, there = begin(places, wave("web01"), systemd)
    assert left == []
    assert sorted(os.listdir(tmp_path / "guests") + os.listdir(tmp_path / "auto")) == ["20-web011", "web011.cfg"]
    told = units.told(there, "web01")
    assert (told["code"], told["to"], told["step"], told["lines"]) == (0, "xen02", 1, ["Migration successful."])
    assert told["seconds"] >= 0
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:2] == ["migrate", "-s"]
    assert asked[3:] == ["web01", "10.9.0.2"]
    assert asked[2].startswith("ssh -F none -i /keys/id_ed25519 -p 22 -o UserKnownHostsFile=/keys/known_hosts")
    assert "-o HostKeyAlias=xen02 -o StrictHostKeyChecking=yes -o BatchMode=yes" in asked[2]
    assert systemd.begun[0][:4] == ["systemd-run", "--quiet", "--collect", "--unit=xenfold-move-web01.service"]


def test_a_move_that_fails_leaves_everything_and_is_not_begun_again_in_its_run(tmp_path, places):
    script(tmp_path, 'echo "Migration failed, resuming at sender." >&2; exit 1')
    (tmp_path / "guests" / "web01.cfg").write_text("")
    systemd = Systemd()
    _found, _left, there = begin(places, wave("web01"), systemd)
    assert (units.told(there, "web01")["code"], units.told(there, "web01")["lines"]) == (1, ["Migration failed, resuming at sender."])
    assert os.listdir(tmp_path / "guests") == ["web01.cfg"]
    again, _left, _there = begin(places, wave("web01"), systemd)
    assert (again.start, again.over, len(systemd.begun)) == ([], ["web01"], 1)
    anew, _left, _there = begin(places, wave("web01"), systemd, run="next")
    assert ([journal["run"] for journal in anew.start], len(systemd.begun)) == (["next"], 2)


def test_a_second_call_waits_for_what_is_under_way(tmp_path, places):
    script(tmp_path, f"while ! test -e {tmp_path}/go; do sleep 0.05; done")
    systemd = Systemd()
    _found, left, there = begin(places, wave("web01", "web02", "db01"), systemd, wait_seconds=0.3)
    assert (left, systemd.most) == (["db01", "web01", "web02"], 2)
    assert units.told(there, "web01")["code"] is None
    (tmp_path / "go").touch()
    found, left, _there = begin(places, wave("web01", "web02", "db01"), systemd)
    assert (left, len(systemd.begun)) == ([], 3)
    assert {units.told(there, guest)["code"] for guest in ("web01", "web02", "db01")} == {0}
    assert "db01" in [journal["guest"] for journal in found.start]


def test_a_unit_that_was_killed_has_no_code(tmp_path, places):
    script(tmp_path, "sleep 30")
    systemd = Systemd()
    _found, left, there = begin(places, wave("web01"), systemd, wait_seconds=0.2)
    assert left == ["web01"]
    systemd.alive["web01"].kill()
    systemd.alive["web01"].wait()
    found, left, _there = begin(places, wave("web01"), systemd)
    assert (found.over, left, units.told(there, "web01")["code"]) == (["web01"], [], None)


def test_one_under_way_to_another_host(places):
    there = units.Places(**places)
    with pytest.raises(ValueError, match="under way to xen03, wanted xen02; wait"):
        units.plan(wave("web01"), RUN, "xen01", there, ["web01"], {"web01": {"to": "xen03"}})


def test_without_xl_there_is_an_end_as_well(tmp_path, places):
    there = units.Places(**places)
    journal = units.journal_of(wave("web01")[0], RUN, "xen01", there)
    path = tmp_path / "moves" / "web01.json"
    path.write_text(json.dumps({**journal, "command": [str(tmp_path / "none")]}))
    assert program.main(str(path)) == 127
    assert "No such file" in units.told(there, "web01")["lines"][0]


def test_the_module_shows_moves_and_begins_them(tmp_path, places, monkeypatch):
    monkeypatch.setattr(processes, "PROC", str(tmp_path / "proc"))
    moves = wave("web01")
    case = {"input": {"host": "xen01", "run": RUN, "moves": moves, **places}}
    action = {"verb": "move", "target": "guest web01", "detail": "to xen02 (step 1)"}
    command_cases.run("xl_move", {**case, "flags": {"check": True}, "output": {"changed": True, "actions": [action], "moves": []}})
    assert os.listdir(tmp_path / "moves") == []
    there = units.Places(**places)
    ended = {**moves[0], "code": None, "seconds": None, "lines": []}
    told = {key: ended[key] for key in ("guest", "step", "to", "code", "seconds", "lines")}
    command_cases.run("xl_move", {**case, "run": [{"command": units.unit_command("web01", there)}],
                                  "output": {"changed": True, "actions": [action], "moves": [told], "under_way": []}})
    command_cases.run("xl_move", {**case, "output": {"changed": True, "actions": [], "moves": [told]}})
    command_cases.run("xl_move", {"input": {"host": "xen01", "run": "next", **places}, "output": {"changed": False, "moves": []}})


@pytest.mark.parametrize(("change", "text"), [
    ({"guest": "web01; rm -rf"}, "guest: value 'web01; rm -rf'"),
    ({"guest": "web01--incoming"}, "guest: value 'web01--incoming'"),
    ({"guest": "../x"}, "guest: value '../x'"),
    ({"uuid": "x"}, "uuid: value 'x'"),
    ({"to": "xen02 -oProxyCommand=x"}, "to: value"),
    ({"to": "-x"}, "to: value '-x'"),
    ({"address": "$(reboot)"}, "address: value '$(reboot)'"),
    ({"address": "fe80::1%$(reboot)"}, "address: value"),
    ({"port": 0}, "port: value 0"),
])
def test_nothing_that_a_shell_would_take_otherwise_reaches_it(places, change, text):
    command_cases.run("xl_move", {"input": {"host": "xen01", "run": RUN, "moves": [{**wave("web01")[0], **change}], **places},
                                  "output": {"failed": True}, "msg_contains": [text]})
    with pytest.raises(ValueError, match="allowed"):
        units.journal_of({**wave("web01")[0], **change}, RUN, "xen01", units.Places(**places))


def test_bad_options_of_the_call(places):
    command_cases.run("xl_move", {"input": {"host": "a b", "run": "x/y", "at_once": 0, **places}, "output": {"failed": True},
                                  "msg_contains": ["host: value 'a b'", "run: value 'x/y'", "at_once: value 0, allowed 1 or more"]})


# Settling

AWAY = copy("web01--migratedaway", SUSPENDED)
STEP = {"guest": "web01", "domid": 3, "uuid": uuid_of("web01"), "name": "web01--migratedaway", "never_ran": False}
GONE = {**STEP, "verb": "destroy"}
FRESH = {**STEP, "verb": "destroy", "name": "web01--incoming", "never_ran": True}


@pytest.fixture(name="quick")
def _quick(monkeypatch):
    seconds = iter(range(1000))
    monkeypatch.setattr(settle.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(settle.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(xl_host, "xen_version", lambda: "4.17.7")


def test_a_copy_goes_and_so_do_its_files(tmp_path, quick):
    (tmp_path / "web01.cfg").write_text("")
    case = {"input": {"steps": [GONE], "forget": ["web01"], "config_dir": str(tmp_path), "autostart_dir": str(tmp_path / "auto")},
            "output": {"changed": True}}
    shown = command_cases.run("xl_move_settle", {**case, "flags": {"check": True}})
    assert [action["verb"] for action in shown["actions"]] == ["destroy", "remove"]
    command_cases.run("xl_move_settle", {**case, "run": [
        listed(AWAY), {"command": ["xl", "destroy", "3"]}, listed(AWAY), listed(copy("web01--migratedaway", "---s-d"))]})
    assert os.listdir(tmp_path) == []
    command_cases.run("xl_move_settle", {"input": {**case["input"], "steps": []}, "output": {"changed": False}})


def test_a_guest_comes_back(quick):
    back = [{**STEP, "verb": "rename", "new_name": "web01"}, {**STEP, "verb": "resume", "new_name": "web01"}]
    held = copy("web01", SUSPENDED)
    resume = ["env", "PYTHONPATH=/usr/lib/xen-4.17/lib/python", "/usr/bin/python3", "-c", settle._RESUME, "3"]
    command_cases.run("xl_move_settle", {"input": {"steps": back}, "output": {"changed": True}, "run": [
        listed(AWAY), {"command": ["xl", "rename", "3", "web01"]}, listed(held),
        {"command": ["/usr/lib/xen-common/bin/xen-dir"], "out": "/usr/lib/xen-4.17\n"}, {"command": resume}, listed(copy("web01"))]})
    compile(settle._RESUME, "resume", "exec")


def test_a_newer_xl_resumes_by_itself_and_a_paused_guest_is_unpaused(quick, monkeypatch):
    monkeypatch.setattr(xl_host, "xen_version", lambda: "4.20.4")
    command_cases.run("xl_move_settle", {"input": {"steps": [{**STEP, "verb": "resume", "new_name": "web01"}]}, "run": [
        listed(copy("web01", SUSPENDED)), {"command": ["xl", "resume", "3"]}, listed(copy("web01"))]})
    command_cases.run("xl_move_settle", {"input": {"steps": [{**STEP, "verb": "resume", "new_name": "web01"}]}, "run": [
        listed(copy("web01", PAUSED)), {"command": ["xl", "unpause", "3"]}, listed(copy("web01"))]})


@pytest.mark.parametrize(("step", "seen", "text"), [
    (GONE, [], "was to be web01--migratedaway with uuid"),
    (GONE, [copy("web01")], "and is web01 with uuid"),
    (GONE, [copy("web01--migratedaway", RUNNING)], "runs again since it was judged; nothing was done"),
    (FRESH, [copy("web01--incoming", RUNNING, 0.1)], "has run here since it was judged; nothing was done"),
    (FRESH, [copy("web01--incoming", PAUSED, 0.1)], "has run here since"),
    (FRESH, [copy("web01--incoming", PAUSED, 0, uuid="11111111-2222-3333-4444-555555555555")], "with uuid 11111111"),
])
def test_a_domain_that_is_not_what_was_judged_is_left_alone(quick, step, seen, text):
    command_cases.run("xl_move_settle", {"input": {"steps": [step]}, "run": [listed(*seen)], "output": {"failed": True},
                                         "msg_contains": [text]})


def test_one_that_does_not_go(quick):
    command_cases.run("xl_move_settle", {
        "input": {"steps": [GONE], "wait_seconds": 1}, "output": {"failed": True}, "msg_contains": ["is still there after xl destroy"],
        "run": [listed(AWAY), {"command": ["xl", "destroy", "3"]}, listed(AWAY)]})


def test_a_verb_that_nobody_knows():
    command_cases.run("xl_move_settle", {"input": {"steps": [{**GONE, "verb": "kill"}], "forget": ["a b"]}, "output": {"failed": True},
                                         "msg_contains": ["verb: value 'kill', allowed destroy, rename, resume", "guest: value 'a b'"]})
