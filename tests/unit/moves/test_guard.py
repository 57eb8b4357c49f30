# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Before a host starts its guests: what the guard asks, whom it holds back, how the module sets it up. Peers are commands here."""
from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import guard, trust

from tests.unit import command_cases

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJyLbn6nPZt0uSWz7nuOZeGLqJHvXH4Y1uqhDBfXcE1a"
OTHER_KEY = KEY[:-1] + "b"
PEER = {"name": "xen02", "address": "10.9.0.2", "addresses": ["10.9.0.2", "192.0.2.2"], "public_key": KEY, "guard_key": OTHER_KEY,
        "host_keys": [KEY]}
LINE = (f'restrict,from="10.9.0.2,192.0.2.2",command="/usr/bin/python3 -I /usr/local/lib/xenfold/autostart_guard.py tell" {OTHER_KEY}'
        " xenfold-guard:xen02\n")
NOBODY = {"runs": [], "starts": [], "busy": False}


def has(runs=(), starts=(), busy=False):
    return {"runs": list(runs), "starts": list(starts), "busy": busy}


def says(name, told, code=0):
    """A peer that answers so."""
    text = told if isinstance(told, str) else json.dumps(told)
    return {"name": name, "command": ["sh", "-c", f"printf %s {shlex.quote(text)}; exit {code}"]}


def silent(name):
    """Both guests, held because of a peer without a sound answer."""
    return dict.fromkeys(("web01", "db01"), f"it may run on {name}, which did not answer")


LINKS = {"10-web01": "web01.cfg", "other": "db01.cfg", "30-local01": "local01.cfg"}


class Host:
    """A Xen host with three autostart links, one of which somebody has named otherwise, and with a false xl that lists what `runs`."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.auto, self.runs = folder, folder / "auto", []
        self.held, self.claims = folder / "state" / "held.json", folder / "run" / "claims.json"
        for path in (self.auto, folder / "guests"):
            path.mkdir()
        for link, config in LINKS.items():
            (folder / "guests" / config).touch()
            (self.auto / link).symlink_to(folder / "guests" / config)
        self.xl, self.capabilities = folder / "xl", folder / "capabilities"
        self.capabilities.write_text("control_d\n")
        for name, value in (("XL", self.xl), ("CAPABILITIES", self.capabilities), ("GUESTS", folder / "guests"), ("LOCK", folder / "lock")):
            monkeypatch.setattr(guard, name, str(value))
        monkeypatch.setattr(guard, "PAUSE_SECONDS", 0.1)
        monkeypatch.setattr(guard, "STARTING", str(folder / "starting"))
        monkeypatch.setattr(guard, "CREATING", str(folder / "creating"))
        self.lists()

    def lists(self, *names, code=0):
        rows = "".join(f"{name} {number} 128 1 -b---- 1.0\n" for number, name in enumerate(["Domain-0", *names, "(null)"]))
        self.xl.write_text(f"#!/bin/sh\ncat <<E\nName ID Mem VCPUs State Time(s)\n{rows}E\nexit {code}\n")
        self.xl.chmod(0o755)

    def start(self, *peers, guests=("db01", "web01", "unlinked01"), seconds=0.0):
        """What starts with it, and what is written down as held."""
        config = self.folder / "guard.json"
        config.write_text(json.dumps({"guests": list(guests), "peers": list(peers), "wait_seconds": seconds}))
        assert guard.main([], str(config), str(self.auto), str(self.held), str(self.claims)) == 0
        return self.linked(), json.loads(self.held.read_text()) if self.held.exists() else {}

    def linked(self):
        return sorted(guard.links(str(self.auto)))

    def tells(self):
        return guard.tell(str(self.auto), str(self.claims))


@pytest.fixture(name="host")
def _host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


@pytest.mark.parametrize(("peers", "held"), [
    ([], {}),
    ([says("xen02", NOBODY), says("xen03", NOBODY)], {}),
    ([says("xen02", has(runs=["web01", "local01"])), says("xen03", NOBODY)], {"web01": "it runs on xen02"}),
    ([says("xen02", has(starts=["db01"]))], {"db01": "it starts with xen02"}),
    ([says("xen02", has(["web01"], ["web01"])), says("xen03", has(starts=["web01"]))], {"web01": "it runs on xen02"}),
    ([says("xen02", NOBODY, code=255), says("xen03", has(["db01"]))],
     {"web01": "it may run on xen02, which did not answer", "db01": "it runs on xen03"}),
    ([says("xen02", has(busy=True))],
     dict.fromkeys(("db01", "web01"), "it may come to xen02, where a plan is carried out or was cut off (LOCK)")),
    ([says("xen02", "no json")], silent("xen02")),
    ([says("xen02", '{"runs": 3}')], silent("xen02")),
    ([{"name": "xen02", "command": ["/no/such/ssh"]}], silent("xen02")),
], ids=["alone", "nobody", "runs", "starts", "both", "silent", "busy", "no-json", "no-lists", "no-ssh"])
def test_guests_that_another_host_has_or_may_have_do_not_start(host, capsys, peers, held):
    linked, found = host.start(*peers)
    held = {name: why.replace("LOCK", guard.LOCK) for name, why in held.items()}
    assert found == held
    # A guest of this host alone starts whatever the others say.
    assert linked == [guest for guest in ("db01", "local01", "web01") if guest not in held]
    assert capsys.readouterr().out == "".join(f"{name} does not start with this host: {held[name]}\n" for name in sorted(held))


def test_a_host_without_such_links_asks_nobody(host, tmp_path):
    peer = {"name": "xen02", "command": ["touch", str(tmp_path / "asked")]}
    assert host.start(peer, guests=("unlinked01",)) == (["db01", "local01", "web01"], {})
    assert not (tmp_path / "asked").exists()


def test_under_another_kernel_nothing_starts_and_nothing_is_taken_away(host):
    host.capabilities.unlink()
    host.lists("web01", code=1)
    assert host.start(says("xen02", "", code=255)) == (["db01", "local01", "web01"], {})
    assert host.tells() == has(starts=["db01", "local01", "web01"])


def test_a_peer_that_boots_as_well_is_waited_for_but_not_for_ever(host, tmp_path):
    script = f"test -e {tmp_path}/up && echo '{json.dumps(NOBODY)}' || {{ touch {tmp_path}/up; exit 255; }}"
    assert host.start({"name": "xen02", "command": ["sh", "-c", script]}, seconds=30)[1] == {}
    assert host.start(says("xen02", "", code=255), seconds=0.3)[1] == silent("xen02")


def test_answers_are_those_of_one_round(host, tmp_path):
    """The first says no and has the guest a moment later, when the second has just answered."""
    first = f"test -e {tmp_path}/up && echo '{json.dumps(has(runs=['web01']))}' || echo '{json.dumps(NOBODY)}'"
    second = f"sleep 0.3; test -e {tmp_path}/up && echo '{json.dumps(NOBODY)}' || {{ touch {tmp_path}/up; exit 255; }}"
    peers = [{"name": "xen02", "command": ["sh", "-c", first]}, {"name": "xen03", "command": ["sh", "-c", second]}]
    assert host.start(*peers, seconds=30)[1] == {"web01": "it runs on xen02"}


def test_what_changes_while_others_are_waited_for_is_somebodys_will(host):
    """A link that goes, and a guest that starts here."""
    host.lists("db01")
    peer = {"name": "xen02", "command": ["sh", "-c", f"rm {host.auto}/10-web01; exit 255"]}
    assert host.start(peer) == (["db01", "local01"], {})


def test_what_was_held_is_remembered_until_it_has_a_link_or_runs(host):
    host.start(says("xen02", has(["web01"], ["db01"])))
    assert host.start(says("xen02", NOBODY))[1] == {"web01": "it runs on xen02", "db01": "it starts with xen02"}
    host.lists("db01")
    (host.auto / "10-web01").symlink_to(host.folder / "guests" / "web01.cfg")
    assert host.start(says("xen02", NOBODY)) == (["local01", "web01"], {})


def test_of_two_hosts_with_a_link_neither_starts_the_guest_whoever_asks_first(host, monkeypatch):
    asked = time.clock_gettime(time.CLOCK_BOOTTIME)
    host.start(says("xen02", has(["web01"], ["db01"])))
    # The other asks a little later: the one that is held for nobody knows whom is claimed, the one that runs there is not.
    assert host.tells() == has(starts=["db01", "local01"])
    claim = json.loads(host.claims.read_text())
    claimed = [seconds + guard.CLAIM_SECONDS for seconds in (asked, time.clock_gettime(time.CLOCK_BOOTTIME))]
    # Written in tenths of a second, so half of one may be between the clock and the claim.
    assert claim["guests"] == ["db01"] and claimed[0] - 0.06 <= claim["until"] <= claimed[1] + 0.06
    host.claims.write_text(json.dumps(claim | {"until": 0.5}))
    assert host.tells() == has(starts=["local01"])


def test_a_configuration_that_is_no_link_is_kept_where_nothing_starts_it(host):
    (host.auto / "10-web01").unlink()
    (host.auto / "web01.cfg").write_text("mine")
    assert host.start(says("xen02", has(["web01"])))[0] == ["db01", "local01"]
    assert (host.folder / "auto-held" / "web01.cfg").read_text() == "mine"


def test_without_a_place_to_write_guests_are_held_all_the_same(host, capsys):
    host.held.parent.touch()
    host.claims.parent.touch()
    assert host.start(says("xen02", has(["web01"], ["db01"])))[0] == ["local01"]
    assert "not written down" in capsys.readouterr().out


def test_what_a_peer_is_told(host, capsys):
    host.lists("web01", "db01--incoming", "app01--migratedaway")
    assert guard.main(["tell"], auto=str(host.auto), claims=str(host.claims)) == 0
    assert json.loads(capsys.readouterr().out) == has(["app01", "web01"], ["db01", "local01", "web01"])
    (host.folder / "lock").touch()
    assert host.tells()["busy"]
    host.lists(code=1)
    with pytest.raises(OSError, match="xl list: 1"):
        host.tells()


# The module

@pytest.fixture(name="options")
def _options(tmp_path):
    (tmp_path / "migration").mkdir()
    (tmp_path / "ssh").mkdir()
    for name in (trust.KEY, trust.GUARD_KEY):
        (tmp_path / "migration" / name).write_text("private")
        (tmp_path / "migration" / f"{name}.pub").write_text(f"{OTHER_KEY if 'guard' in name else KEY} xenfold-migration\n")
    return {"key_dir": str(tmp_path / "migration"), "authorized_keys": str(tmp_path / "authorized_keys"), "ssh_dir": str(tmp_path / "ssh"),
            "program": str(tmp_path / "lib" / "move.py"), "guard_config": str(tmp_path / "guard.json"),
            "guard_unit": str(tmp_path / "unit" / "xenfold-guard.conf"), "guard": ["web01", "db01"], "guard_seconds": 60}


def test_the_guard_is_set_up_once(tmp_path, options):
    other = PEER | {"name": "xen09", "address": "10.9.0.9", "addresses": ["10.9.0.9"], "sends": False}
    off = PEER | {"name": "xen03", "address": "10.9.0.3", "asked": False}
    call = {"input": options | {"peers": [PEER, other, off], "guard_off": ["xen03"]}}
    preview = {"flags": {"check": True, "diff": True}, "output": {"changed": True, "guard_key": OTHER_KEY}}
    shown = command_cases.run("migration", call | preview)
    assert not (tmp_path / "lib").exists()
    reload = [{"command": ["systemctl", "daemon-reload"]}]
    command_cases.run("migration", call | {"run": reload, "output": {"actions": shown["actions"]}})
    lines = (tmp_path / "authorized_keys").read_text()
    assert LINE in lines and "xenfold-migration:xen02" in lines
    # One of another pool asks and sends nothing.
    assert "xenfold-guard:xen09" in lines and "xenfold-migration:xen09" not in lines
    assert (tmp_path / "lib" / "autostart_guard.py").read_text() == Path(guard.__file__).read_text()
    config = json.loads((tmp_path / "guard.json").read_text())
    assert (config["guests"], config["wait_seconds"]) == (["db01", "web01"], 60)
    assert [peer["name"] for peer in config["peers"]] == ["xen02", "xen09"]
    command = config["peers"][0]["command"]
    assert (command[0], command[-1]) == ("ssh", "root@10.9.0.2") and str(tmp_path / "migration" / "id_ed25519_guard") in command
    unit = (tmp_path / "unit" / "xenfold-guard.conf").read_text()
    assert f"ExecStartPre=/usr/bin/python3 -I {trust.GUARD}\n" in unit and "TimeoutStartSec=300\n" in unit
    command_cases.run("migration", call | {"output": {"changed": False}})
    # When no such guest is left nobody is asked for any; a peer that is gone loses its line.
    unguarded = options | {"peers": [PEER, other, off], "guard": []}
    command_cases.run("migration", {"input": unguarded, "output": {"changed": True, "guard_key": ""}})
    assert json.loads((tmp_path / "guard.json").read_text())["guests"] == []
    assert (tmp_path / "authorized_keys").read_text() == lines
    command_cases.run("migration", {"input": unguarded, "output": {"changed": False}})
    command_cases.run("migration", {"input": options | {"peers": [], "guard": []}, "output": {"changed": True}})
    assert "xenfold-guard" not in (tmp_path / "authorized_keys").read_text()


def test_a_preview_on_bare_hosts_shows_the_guard_as_to_be_set_up(tmp_path, options):
    for path in (tmp_path / "migration").iterdir():
        path.unlink()
    bare = PEER | {"public_key": "", "guard_key": "", "host_keys": []}
    shown = command_cases.run("migration", {"input": options | {"peers": [bare]}, "flags": {"check": True, "diff": True}})
    assert [action["verb"] for action in shown["actions"]] == ["make"] * 2 + ["write"] * 6
    assert not (tmp_path / "guard.json").exists() and "(key to be made) xenfold-guard:xen02" in json.dumps(shown["diff"])


@pytest.mark.parametrize(("peers", "seconds"), [(0, 300), (3, 300), (40, 420), (200, 570)])
def test_systemd_waits_longer_than_the_guard_asks(peers, seconds):
    wait = {0: 0, 3: 0}.get(peers, 300)
    assert f"TimeoutStartSec={seconds}\n" in trust.guard_unit(wait, peers)


def test_peers_that_do_not_answer_are_named_when_they_are_set_up(options, monkeypatch):
    command_cases.run("migration", {"input": options | {"peers": [PEER]}, "run": [{"command": ["systemctl", "daemon-reload"]}]})
    # The first is busy with too many callers at first; the fourth took no part in the run.
    answers = {"10.9.0.2": [None, NOBODY], "10.9.0.3": [None], "10.9.0.4": [None]}

    def ask(command):
        left = answers[command[-1].removeprefix("root@")]
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(guard, "ask", ask)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    second = PEER | {"name": "xen03", "address": "10.9.0.3"}
    third = PEER | {"name": "xen04", "address": "10.9.0.4", "asked": False}
    call = options | {"peers": [PEER, second, third]}
    command_cases.run("migration", {"input": call | {"ask": ["xen04"]}})
    command_cases.run("migration", {"input": call | {"ask": ["xen02"]}})
    command_cases.run("migration", {"input": call | {"ask": ["xen02", "xen03"]}, "output": {"failed": True, "silent": ["xen03"]},
                                    "msg_contains": ["xen03: no answer to what the guard asks"]})


@pytest.mark.parametrize(("change", "text"), [
    ({"guard": ["Web 01"]}, "guard: guest: value 'Web 01', allowed the name of a guest"),
    ({"guard_seconds": 3601}, "guard_seconds: value 3601, allowed 0 to 3600"),
    ({"peers": [PEER | {"address": "xen02; reboot"}]}, "peers[0]: address: value 'xen02; reboot', allowed an address"),
    ({"peers": [PEER | {"address": None}]}, "peers[0]: address: value None, allowed an address"),
    ({"peers": [PEER | {"guard_key": "oops"}]}, "peers[0]: guard_key: value 'oops', allowed a public key"),
])
def test_bad_input_of_the_guard(options, change, text):
    command_cases.run("migration", {"input": options | {"peers": [PEER]} | change, "output": {"failed": True}, "msg_contains": [text]})
