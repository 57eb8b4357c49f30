# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Before a host starts its guests: what the guard asks, whom it holds back, how the module sets it up. Peers are commands here."""
from __future__ import annotations

import json
import shlex
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
NOBODY: dict[str, list[str]] = {"runs": [], "starts": []}


def says(name, told, code=0):
    """A peer that answers so."""
    text = told if isinstance(told, str) else json.dumps(told)
    return {"name": name, "command": ["sh", "-c", f"printf %s {shlex.quote(text)}; exit {code}"]}


def silent(name):
    """Both guests, held because of a peer without a sound answer."""
    return dict.fromkeys(("web01", "db01"), f"it may run on {name}, which did not answer")


@pytest.fixture(name="host")
def _host(tmp_path):
    """A host with four autostart links, the last of which is somebody's own; returns a function that starts it."""
    auto = tmp_path / "auto"
    auto.mkdir()
    for link in ("10-web01", "20-db01", "30-local01", "other.cfg"):
        (auto / link).symlink_to(f"/etc/xen/guests/{link}")

    def start(*peers, guests=("db01", "web01", "unlinked01"), seconds=0.0):
        config = tmp_path / "guard.json"
        config.write_text(json.dumps({"guests": list(guests), "peers": list(peers), "wait_seconds": seconds}))
        assert guard.main([], str(config), str(auto), str(tmp_path / "state" / "held.json")) == 0
        return sorted(path.name for path in auto.iterdir()), json.loads((tmp_path / "state" / "held.json").read_text())

    return start


@pytest.mark.parametrize(("peers", "held"), [
    ([], {}),
    ([says("xen02", NOBODY), says("xen03", NOBODY)], {}),
    ([says("xen02", {"runs": ["web01", "local01"], "starts": []}), says("xen03", NOBODY)], {"web01": "it runs on xen02"}),
    ([says("xen02", {"runs": [], "starts": ["db01"]})], {"db01": "it starts with xen02"}),
    ([says("xen02", {"runs": ["web01"], "starts": ["web01"]}), says("xen03", {"runs": [], "starts": ["web01"]})],
     {"web01": "it runs on xen02"}),
    ([says("xen02", NOBODY, code=255), says("xen03", {"runs": ["db01"], "starts": []})],
     {"web01": "it may run on xen02, which did not answer", "db01": "it runs on xen03"}),
    ([says("xen02", "no json")], silent("xen02")),
    ([says("xen02", '{"runs": 3}')], silent("xen02")),
    ([{"name": "xen02", "command": ["/no/such/ssh"]}], silent("xen02")),
], ids=["alone", "nobody", "runs", "starts", "both", "silent", "no-json", "no-lists", "no-ssh"])
def test_guests_that_another_host_has_or_may_have_do_not_start(host, capsys, peers, held):
    links, found = host(*peers)
    assert found == held
    # A guest of this host alone starts whatever the others say, and so does what is not the estate's.
    assert links == [link for link in ("10-web01", "20-db01", "30-local01", "other.cfg") if link[3:] not in held]
    assert capsys.readouterr().out == "".join(f"{name} does not start with this host: {held[name]}\n" for name in sorted(held))


def test_a_host_without_such_links_asks_nobody(host, tmp_path):
    links, found = host({"name": "xen02", "command": ["touch", str(tmp_path / "asked")]}, guests=("unlinked01",))
    assert (len(links), found) == (4, {}) and not (tmp_path / "asked").exists()


def test_a_peer_that_boots_as_well_is_waited_for(host, tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "PAUSE_SECONDS", 0.1)
    script = f"test -e {tmp_path}/up && echo '{json.dumps(NOBODY)}' || {{ touch {tmp_path}/up; exit 255; }}"
    assert host({"name": "xen02", "command": ["sh", "-c", script]}, seconds=30)[1] == {}


def test_what_a_peer_is_told(tmp_path, monkeypatch, capsys):
    xl = tmp_path / "xl"
    xl.write_text("#!/bin/sh\ncat <<E\nName ID Mem VCPUs State Time(s)\nDomain-0 0 896 1 r----- 9.0\nweb01 3 128 1 -b---- 1.0\n"
                  "db01--incoming 4 128 1 --p--- 0.0\napp01--migratedaway 5 128 1 ---ss- 0.0\n(null) 6 0 1 --ps-d 0.1\nE\n")
    xl.chmod(0o755)
    (tmp_path / "20-cache01.cfg").symlink_to("x")
    monkeypatch.setattr(guard, "XL", str(xl))
    assert guard.main(["tell"], auto=str(tmp_path)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["runs"] == ["app01", "db01", "web01"] and "cache01" in told["starts"]
    xl.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(OSError, match="xl list: 1"):
        guard.tell(str(tmp_path))


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
    call = {"input": options | {"peers": [PEER]}}
    preview = {"flags": {"check": True, "diff": True}, "output": {"changed": True, "guard_key": OTHER_KEY}}
    shown = command_cases.run("migration", call | preview)
    assert not (tmp_path / "lib").exists()
    reload = [{"command": ["systemctl", "daemon-reload"]}]
    command_cases.run("migration", call | {"run": reload, "output": {"actions": shown["actions"]}})
    assert LINE in (tmp_path / "authorized_keys").read_text()
    assert (tmp_path / "lib" / "autostart_guard.py").read_text() == Path(guard.__file__).read_text()
    config = json.loads((tmp_path / "guard.json").read_text())
    assert (config["guests"], config["wait_seconds"]) == (["db01", "web01"], 60)
    command = config["peers"][0]["command"]
    assert (command[0], command[-1]) == ("ssh", "root@10.9.0.2") and str(tmp_path / "migration" / "id_ed25519_guard") in command
    unit = (tmp_path / "unit" / "xenfold-guard.conf").read_text()
    assert "ExecStartPre=/usr/bin/python3 -I /usr/local/lib/xenfold/autostart_guard.py\n" in unit
    command_cases.run("migration", call | {"output": {"changed": False}})
    # Moves without such guests leave it as it is; a peer that is gone loses its line.
    command_cases.run("migration", {"input": options | {"peers": [PEER], "guard": []}, "output": {"changed": False, "guard_key": ""}})
    command_cases.run("migration", {"input": options | {"peers": [], "guard": []}, "output": {"changed": True}})
    assert "xenfold-guard" not in (tmp_path / "authorized_keys").read_text()


@pytest.mark.parametrize(("change", "text"), [
    ({"guard": ["Web 01"]}, "guard: guest: value 'Web 01', allowed the name of a guest"),
    ({"guard_seconds": 3601}, "guard_seconds: value 3601, allowed 0 to 3600"),
    ({"peers": [PEER | {"address": "xen02; reboot"}]}, "peers[0]: address: value 'xen02; reboot', allowed an address"),
    ({"peers": [PEER | {"address": None}]}, "peers[0]: address: value None, allowed an address"),
    ({"peers": [PEER | {"guard_key": "oops"}]}, "peers[0]: guard_key: value 'oops', allowed a public key"),
])
def test_bad_input_of_the_guard(options, change, text):
    command_cases.run("migration", {"input": options | {"peers": [PEER]} | change, "output": {"failed": True}, "msg_contains": [text]})
