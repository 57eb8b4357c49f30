# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guard's scripts, run for real in a folder that stands for the host.

Declared fake: `ip`, `systemctl`, `systemd-run`, `networkctl`, `resolvectl`, `udevadm`, `ifup`, `ifdown`, `sysctl`, `sleep`. They
only write down how they were called; what the scripts do with files is real.
"""
from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import announce, guard, ifupdown, plan, render
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.host import Host
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.state import State
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

from tests.unit.network import hosts
from tests.unit.network.hosts import with_link

FAKES = ("ip", "systemctl", "systemd-run", "networkctl", "resolvectl", "udevadm", "ifup", "ifdown", "sysctl", "sleep")


class Box:
    """A folder as the root of a host, with fake tools in front of the path."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.log = folder / "calls"
        self.tools = folder / "tools"
        self.tools.mkdir(parents=True)
        self.root.mkdir()
        self.commands: list[list[str]] = []
        for name in FAKES:
            self.fake(name)
        self.host = Host(Runner(self), str(self.root))

    def fake(self, name: str, then: str = "") -> None:
        tool = self.tools / name
        tool.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{then}\n')
        tool.chmod(0o755)

    def run_command(self, args: list[str], **_kwargs: object) -> tuple[int, str, str]:
        """What Runner calls: nothing is run here, it is written down."""
        self.commands.append(list(args))
        return 0, "", ""

    def fail_json(self, msg: str, **_kwargs: object) -> None:
        raise AssertionError(msg)

    def put(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def files(self) -> dict[str, str]:
        """Everything below etc."""
        return {"/" + str(path.relative_to(self.root)): path.read_text()
                for path in sorted((self.root / "etc").rglob("*")) if path.is_file() and not path.is_symlink()}

    def script(self, name: str, *arguments: str) -> list[str]:
        """Run a script of the guard; returns what the fake tools were asked to do."""
        self.log.write_text("")
        environment = {"PATH": f"{self.tools}:{os.environ['PATH']}"}
        done = subprocess.run(["/bin/sh", os.path.join(self.host.directory, name), *arguments], env=environment,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return self.log.read_text().splitlines()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def arm(box: Box, wanted: render.Network, before: State, consent: tuple[str, ...] = ()) -> plan.Change:
    for path, text in before.files.items():
        box.put(path, text)
    change = plan.plan(wanted, before, consent)
    described = {key: getattr(wanted, key) for key in ("host", "backend", "bonds", "vlans", "bridges")}
    box.host.arm(change, before, {"network": described, "asserts": []}, 90)
    return change


OVER_MANAGEMENT = hosts.network(bonds=[hosts.BOND | {"members": [{"name": "eth0"}, {"name": "eth3"}]}])


def test_the_old_files_come_back_to_the_byte(box: Box) -> None:
    arm(box, OVER_MANAGEMENT, hosts.bare(), (hosts.MANAGEMENT,))
    box.script("apply")
    assert hosts.MANAGEMENT not in box.files()
    assert f"{render.PREFIX}bond-bond0.netdev" in box.files()
    assert box.host.applied()
    box.script("restore")
    assert box.files() == hosts.bare().files
    assert box.host.step() == "restored"
    assert not os.path.lexists(str(box.root) + guard.BOOT_LINK)


def test_the_neighbours_are_told_after_the_change_and_after_its_end(box: Box) -> None:
    arm(box, OVER_MANAGEMENT, hosts.bare(), (hosts.MANAGEMENT,))
    assert box.script("apply")[-1] == "ip -j addr show"
    assert box.script("restore")[-1] == "ip -j addr show"


def test_an_announcement_is_a_request_for_the_own_address() -> None:
    frame = announce.announcement("52:54:00:aa:00:02", "192.0.2.10")
    ethernet, arp = "ffffffffffff525400aa00020806", "0001080006040001"
    assert frame.hex() == ethernet + arp + "525400aa0002" + "c000020a" + "000000000000" + "c000020a"


def test_an_ipv6_address_is_advertised_to_all_nodes() -> None:
    frame = announce.announcement("52:54:00:aa:00:02", "2001:db8::10")
    address, nodes = "20010db8000000000000000000000010", "ff020000000000000000000000000001"
    message = "8800" + frame.hex()[112:116] + "20000000" + address + "0201" + "525400aa0002"
    assert frame.hex() == ("333300000001" + "525400aa0002" + "86dd") + ("60000000" + "0020" + "3aff" + address + nodes) + message
    # Summed up with its checksum, a message with its pseudo-header comes to nothing.
    assert announce.checksum(bytes.fromhex(address + nodes + "00000020" + "0000003a" + message)) == 0


def test_an_ipv6_address_that_is_still_looked_for_is_not_announced() -> None:
    addresses = [{"family": "inet6", "local": "fd00:9::1", "scope": "global"},
                 {"family": "inet6", "local": "fd00:9::2", "scope": "global", "tentative": True},
                 {"family": "inet6", "local": "fd00:9::3", "scope": "global", "dadfailed": True}]
    link = {"ifname": "xenbr0", "link_type": "ether", "address": "52:54:00:aa:00:02", "flags": ["UP"], "addr_info": addresses}
    assert announce.announced(json.dumps([link])) == [("xenbr0", "52:54:00:aa:00:02", "fd00:9::1")]


def test_announced_are_addresses_of_cards_bonds_and_bridges_that_are_up() -> None:
    listing = (hosts.SEEN / "ip-addr.json").read_text()
    links = hosts.seen_links()
    assert [(device, address) for device, _mac, address in announce.announced(listing)] == [
        (link.name, address.partition("/")[0]) for link in links.values() if link.name != "lo" and link.up
        for address in link.addresses if ":" not in address]
    assert announce.announced("") == []


def test_changed_files_come_back_with_their_mode(box: Box) -> None:
    path = f"{render.PREFIX}bond-bond0.netdev"
    before = replace(hosts.converged(), files={**hosts.converged().files, path: "old\n"})
    box.put(path, "old\n")
    (box.root / path.lstrip("/")).chmod(0o640)
    arm(box, hosts.network(), before)
    assert box.files()[path] != "old\n"
    box.script("restore")
    assert box.files()[path] == "old\n"
    assert (box.root / path.lstrip("/")).stat().st_mode & 0o777 == 0o640


def test_the_guard_is_armed_before_anything_is_written(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(box, "run_command", lambda args, **_: (order.append(" ".join(args)), (0, "", ""))[1])
    real: Callable[..., None] = Host._later

    def later(self: Host, unit: str, seconds: int, script: str) -> None:
        order.append(f"{unit} with {sorted(path for path in box.files() if render.PREFIX in path)}")
        assert self.step() == "armed"
        real(self, unit, seconds, script)

    monkeypatch.setattr(Host, "_later", later)
    arm(box, hosts.network(), hosts.bare())
    started = [line for line in order if " with [" in line]
    assert started[0] == f"{guard.UNIT} with []"
    assert started[1].startswith(f"{guard.APPLY_UNIT} with ['/etc/systemd/network/20-xenfold-bond-bond0.netdev'")
    assert any(line.startswith(f"systemd-run --on-active=90 --unit={guard.UNIT} ") for line in order)


def test_what_was_made_goes_and_what_was_there_stays(box: Box) -> None:
    arm(box, hosts.network(), hosts.bare())
    calls = box.script("restore")
    assert [call for call in calls if "delete" in call] == ["ip link delete dev xenbr0", "ip link delete dev bond0"]
    assert "systemctl restart systemd-networkd.service" in calls
    assert "ip link set dev eth1 down" in calls
    assert "ip link set dev eth0 down" not in calls


def test_a_bridge_is_not_deleted_when_its_bond_is_made_anew(box: Box) -> None:
    arm(box, hosts.network(bonds=[hosts.BOND | {"mode": "active-backup"}]), hosts.converged())
    applied = box.script("apply")
    assert [call for call in applied if "delete" in call] == ["ip link delete dev bond0"]
    restored = box.script("restore")
    assert [call for call in restored if "delete" in call] == ["ip link delete dev bond0"]
    # Nothing has come back by itself here, so it is put back by hand: first the cards, down, then the port.
    by_hand = [call for call in restored if " master " in call]
    assert by_hand == ["ip link set dev bond0 master xenbr0", "ip link set dev eth1 master bond0",
                       "ip link set dev eth2 master bond0"]
    assert restored.index("ip link set dev eth1 down") < restored.index("ip link set dev eth1 master bond0")


def test_addresses_and_routes_that_do_not_come_back_are_set_by_hand(box: Box) -> None:
    arm(box, OVER_MANAGEMENT, hosts.bare(), (hosts.MANAGEMENT,))
    calls = box.script("restore")
    assert "ip addr add 10.0.2.15/24 dev eth0" in calls
    assert "ip -4 route add default via 10.0.2.2 dev eth0" in calls
    box.fake("ip", 'case "$*" in *"addr show dev eth0") echo "2: eth0 inet 10.0.2.15/24 brd 10.0.2.255";; '
                   '*"route show default") echo "default via 10.0.2.2 dev eth0";; esac')
    (box.root / "var/lib/xenfold/network/restored").rename(box.root / "var/lib/xenfold/network/armed")
    calls = box.script("restore")
    assert not [call for call in calls if " add " in call]


def test_ipv6_addresses_and_routes_come_back_too(box: Box) -> None:
    before = with_link(hosts.bare(), "eth0", addresses=("10.0.2.15/24", "fd00:2::15/64"))
    before = replace(before, gateways=frozenset({("10.0.2.2", "eth0"), ("fd00:2::2", "eth0")}))
    arm(box, OVER_MANAGEMENT, before, (hosts.MANAGEMENT,))
    calls = box.script("restore")
    add = calls.index("ip addr add fd00:2::15/64 dev eth0 nodad")
    assert calls[add - 1] == "sysctl -q -e -w net/ipv6/conf/eth0/disable_ipv6=0"
    assert calls.index("ip -6 route add default via fd00:2::2 dev eth0") > add
    assert "ip -4 route add default via 10.0.2.2 dev eth0" in calls
    assert ["ip", "-j", "-6", "route", "show"] in box.commands
    assert (box.root / "var/lib/xenfold/network/before-routes6.json").exists()


def test_networkd_that_did_not_run_before_is_stopped_again(box: Box) -> None:
    arm(box, hosts.network(), replace(hosts.bare(), active=False, enabled=False))
    applied = box.script("apply")
    assert applied.index("systemctl enable systemd-networkd.service") < applied.index("systemctl restart systemd-networkd.service")
    restored = box.script("restore")
    assert "systemctl disable systemd-networkd.service" in restored
    assert "systemctl stop systemd-networkd.socket systemd-networkd.service" in restored
    assert "systemctl restart systemd-networkd.service" not in restored


def test_ifupdown_goes_down_by_its_old_file_and_comes_back(box: Box) -> None:
    text = "iface eth1 inet dhcp\n"
    before = with_link(replace(hosts.bare(), files={ifupdown.INTERFACES: text}), "eth1", up=True)
    arm(box, hosts.network(), before, (ifupdown.INTERFACES,))
    assert box.files()[ifupdown.INTERFACES] == text
    box.fake("ifdown", f"grep -q dhcp {box.root}{ifupdown.INTERFACES} && echo with the old file >> {box.log}")
    calls = box.script("apply")
    assert calls[:2] == ["ifdown --force eth1", "with the old file"]
    assert box.files()[ifupdown.INTERFACES] == ifupdown.NO_STANZAS
    assert "systemd-run --quiet --collect --wait --property=KillMode=process ifup eth1" in box.script("restore")
    assert box.files()[ifupdown.INTERFACES] == text


def test_restored_twice_is_restored_once(box: Box) -> None:
    arm(box, hosts.network(), hosts.bare())
    assert box.script("restore")
    assert box.script("restore") == []


def test_a_confirmed_change_is_never_restored(box: Box) -> None:
    arm(box, hosts.network(), hosts.bare())
    assert box.host.confirm()
    assert ["systemctl", "stop", f"{guard.UNIT}.timer"] in box.commands
    assert box.script("restore") == []
    assert f"{render.PREFIX}bond-bond0.netdev" in box.files()
    assert not os.path.lexists(str(box.root) + guard.BOOT_LINK)


def test_a_guard_that_has_acted_cannot_be_confirmed(box: Box) -> None:
    arm(box, hosts.network(), hosts.bare())
    box.script("restore")
    assert not box.host.confirm()
    assert box.host.step() == "restored"


def test_a_restart_before_the_confirmation_puts_back_files_and_nothing_else(box: Box) -> None:
    arm(box, OVER_MANAGEMENT, hosts.bare(), (hosts.MANAGEMENT,))
    assert os.path.lexists(str(box.root) + guard.BOOT_LINK)
    box.script("apply")
    calls = box.script("restore", "boot")
    assert not [call for call in calls if call.startswith(("ip ", "networkctl", "systemctl restart"))]
    assert box.files() == hosts.bare().files
    assert box.host.step() == "restored"


def test_a_restoration_cut_off_in_the_middle_goes_on(box: Box) -> None:
    arm(box, hosts.network(), hosts.bare())
    state = box.root / "var/lib/xenfold/network"
    (state / "armed").rename(state / "restoring")
    assert box.script("restore") == []
    assert box.script("restore", "again")
    assert box.host.step() == "restored"


def test_settling_leaves_a_guard_at_work_alone_and_starts_a_dead_one_again(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm(box, hosts.network(), hosts.bare())
    state = box.root / "var/lib/xenfold/network"
    (state / "armed").rename(state / "restoring")
    answers = {"is-active": "active\ninactive\n"}

    def run_command(args: list[str], **_kwargs: object) -> tuple[int, str, str]:
        box.commands.append(list(args))
        return 0, answers.get(args[1], ""), ""

    monkeypatch.setattr(box, "run_command", run_command)
    box.commands.clear()
    box.host.restore()
    assert [command[0] for command in box.commands] == ["systemctl"]
    answers["is-active"] = "inactive\ninactive\n"
    box.host.restore()
    assert box.commands[-1][-2:] == [f"{box.host.directory}/restore", "again"]


def test_a_preview_starts_from_the_files_that_will_come_back(box: Box) -> None:
    arm(box, OVER_MANAGEMENT, hosts.bare(), (hosts.MANAGEMENT,))
    box.script("apply")
    now = replace(hosts.bare(), files=box.files())
    seen = box.host.overlay(now)
    assert {path: text for path, text in seen.files.items() if "xenfold-network-boot" not in path} == hosts.bare().files


def test_the_record_says_what_was_asked(box: Box) -> None:
    arm(box, hosts.network(), hosts.bare())
    record = box.host.recorded()
    assert record["confirm_seconds"] == 90
    assert record["network"]["bridges"][0]["name"] == "xenbr0"
    assert json.dumps(record)
    assert (box.root / "var/lib/xenfold/network").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["apply", "restore"])
@pytest.mark.parametrize("backend", ["networkd", "ifupdown"])
def test_the_scripts_are_valid_shell(box: Box, name: str, backend: str) -> None:
    arm(box, hosts.network(backend=backend), hosts.bare())
    done = subprocess.run(["/bin/sh", "-n", f"{box.host.directory}/{name}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
