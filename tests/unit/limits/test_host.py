# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.limits import host, kernel, plan

from tests.unit.limits import samples

LS = ("xenstore-ls", "-f", "/local/domain/0/backend")
NAMES = ("xenstore-read", "-p", "/local/domain/3/name", "/local/domain/4/name")
QDISC = ("tc", "-j", "qdisc", "show")
ANSWERS = {
    LS: (0, samples.XENSTORE, ""),
    NAMES: (0, "/local/domain/3/name: web01\n/local/domain/4/name: web02\n", ""),
    QDISC: (0, samples.QDISCS, ""),
    ("tc", "class", "show", "dev", "bond0"): (0, samples.CLASSES, ""),
    ("tc", "-j", "filter", "show", "dev", "bond0", "parent", "584e:"): (0, samples.FILTERS, ""),
}
WANTED = {"web01": {"disks": {"xvda": {"read_iops": 5}}, "networks": {samples.MAC_A: {"bridge": "xenbr0", "min_mbps": 10}}}}


def write(root: Path, path: str, text: str = "") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


class Commands:
    """Answers commands and remembers them."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def __call__(self, argv, data):
        self.asked.append((tuple(argv), data))
        return self.answers[tuple(argv)]


@pytest.fixture(name="root")
def _root(tmp_path):
    for path, text in {
        "sys/fs/cgroup/cgroup.subtree_control": "cpu io memory\n", "sys/fs/cgroup/xenfold/cgroup.subtree_control": "io\n",
        "sys/fs/cgroup/xenfold/guest-web01/io.max": "253:1 rbps=max wbps=max riops=5 wiops=max\n",
        "sys/fs/cgroup/xenfold/guest-web01/cgroup.procs": "70\n71\n", "sys/fs/cgroup/cgroup.procs": "",
        "proc/70/comm": "3.xvda-0\n", "proc/70/stat": "70 (3.xvda-0) S 2 0", "proc/1/comm": "systemd\n", "proc/self/comm": "3.xvda-9\n",
        "proc/71/comm": "3.xvdb-0\n", "proc/71/stat": "71 (3.xvdb-0) S 2 0",
        "proc/80/comm": "3.xvda-0\n", "proc/80/stat": "80 (3.xvda-0) S 1 0", "proc/81/comm": "3.xvda-1\n",
        "sys/class/net/vif3.0/queues/tx-0/x": "", "sys/class/net/vif3.0/queues/tx-1/x": "", "sys/class/net/web02-lan/uevent": "",
        "sys/class/net/xenbr0/bridge/x": "", "sys/class/net/xenbr0/brif/vif3.0": "", "sys/class/net/xenbr0/brif/vif5.0-emu": "",
        "sys/class/net/xenbr0/brif/bond0.10": "", "sys/class/net/bond0.10/uevent": "DEVTYPE=vlan\nINTERFACE=bond0.10\n",
        "sys/class/net/bond0.10/lower_bond0": "", "sys/class/net/bond0/uevent": "DEVTYPE=bond\n", "sys/class/net/bond0/speed": "2000\n",
        "sys/class/net/bond0/bonding/slaves": "eth1 eth2\n", "sys/class/net/eth1/carrier": "1\n", "sys/class/net/eth2/carrier": "1\n",
    }.items():
        write(tmp_path, path, text)
    return tmp_path


def test_everything_that_holds(root):
    actual = host.Host(Commands(ANSWERS), str(root)).read(WANTED)
    assert actual.disks[0] == kernel.Disk("web01", 3, "xvda", "253:1")
    assert [(vif.guest, vif.device, vif.queues) for vif in actual.vifs] == [("web01", "vif3.0", 2), ("web02", "web02-lan", 1)]
    assert actual.threads == {70: (3, "xvda"), 71: (3, "xvdb")}
    assert actual.groups == {"web01": kernel.Group({"253:1": {"riops": 5}}, frozenset({70, 71}))}
    assert actual.bridges == {"xenbr0": (kernel.Uplink("bond0", 2000),)}
    assert actual.trees["bond0"].macs == {samples.MAC_A: 0x10, samples.MAC_B: 0x11}
    assert actual.io


def test_a_link_that_is_missing_and_a_speed_that_nobody_knows(root):
    write(root, "sys/class/net/eth2/carrier", "0\n")
    write(root, "sys/class/net/bond0/speed", "-1\n")
    assert host.Host(Commands(ANSWERS), str(root)).read(WANTED).bridges == {"xenbr0": (kernel.Uplink("bond0", None, True),)}


def test_a_bare_host(tmp_path):
    nothing = "xenstore-ls: xs_directory (/local/domain/0/backend): No such file or directory\n"
    commands = Commands({LS: (1, "", nothing), QDISC: (0, "[]", "")})
    assert host.Host(commands, str(tmp_path)).read(WANTED) == kernel.Actual()
    assert [argv for argv, _data in commands.asked] == [LS, QDISC]


def test_what_is_not_limited_costs_no_look_at_processes(root):
    for file in (root / "sys/fs/cgroup/xenfold/guest-web01").iterdir():
        file.unlink()
    (root / "sys/fs/cgroup/xenfold/guest-web01").rmdir()
    actual = host.Host(Commands(ANSWERS), str(root)).read({"web01": {"disks": {}, "networks": {}}})
    assert (actual.threads, actual.bridges, actual.trees) == ({}, {}, {})


def test_a_guest_that_has_just_gone_hides_no_other(root):
    single = {("xenstore-read", "-p", "/local/domain/3/name"): (1, "", "xenstore-read: couldn't read path /local/domain/3/name\n"),
              ("xenstore-read", "-p", "/local/domain/4/name"): (0, "/local/domain/4/name: web02\n", "")}
    actual = host.Host(Commands(ANSWERS | {NAMES: (1, "", "couldn't read path")} | single), str(root)).read(WANTED)
    assert [vif.guest for vif in actual.vifs] == ["web02"]


@pytest.mark.parametrize(("command", "answer", "says"), [
    (LS, (1, "", "xenstore-ls: xs_open: No such file or directory\n"), "'xenstore-ls -f .*' failed with return code 1"),
    (LS, (1, samples.XENSTORE, "xenstore-ls: xs_directory (/local/domain/0/backend/vif/3): No such file or directory\n"), "backend/vif/3"),
    (QDISC, (127, "", "no tc"), "'tc -j qdisc show' failed with return code 127: no tc"),
])
def test_what_cannot_be_read(root, command, answer, says):
    with pytest.raises(host.HostError, match=says):
        host.Host(Commands(ANSWERS | {command: answer}), str(root)).read(WANTED)


def test_guests_whose_names_nobody_tells_keep_their_limits(root):
    """Without their names all of them would count as gone."""
    single = {("xenstore-read", "-p", "/local/domain/3/name"): (127, "", "Command '['xenstore-read', ...]' timed out after 60 seconds")}
    with pytest.raises(host.HostError, match=r"'xenstore-read -p /local/domain/3/name' failed with return code 127: .* timed out"):
        host.Host(Commands(ANSWERS | {NAMES: (127, "", "timed out")} | single), str(root)).read(WANTED)


def test_a_card_with_a_name_of_its_own_is_no_way_out(root):
    write(root, "sys/class/net/xenbr0/brif/web02-lan")
    write(root, "sys/class/net/xenbr0/brif/web02-lan-emu")
    assert host.Host(Commands(ANSWERS), str(root)).read(WANTED).bridges == {"xenbr0": (kernel.Uplink("bond0", 2000),)}


def test_deeds(root):
    base = "/sys/fs/cgroup/xenfold"
    commands = Commands({("tc", "-batch", "-"): (0, "", "")})
    step = plan.Step("limit", "x", "y", (
        plan.Make(f"{base}/guest-db01"), plan.Make(f"{base}/guest-db01"), plan.Write(f"{base}/guest-web01/io.max", "253:1 rbps=7"),
        plan.Run(("tc", "-batch", "-"), "qdisc add\n"), plan.Remove(f"{base}/guest-db01"), plan.Remove(f"{base}/guest-db01")))
    assert host.Host(commands, str(root)).carry_out([step]) == []
    assert (root / "sys/fs/cgroup/xenfold/guest-web01/io.max").read_text() == "253:1 rbps=7"
    assert not (root / "sys/fs/cgroup/xenfold/guest-db01").exists()
    assert commands.asked == [(("tc", "-batch", "-"), "qdisc add\n")]


def test_a_deed_that_fails_is_told_and_the_next_step_is_made(root):
    commands = Commands({("a",): (2, "", "no\n"), ("b",): (0, "", "")})
    steps = [plan.Step("limit", "1", "x", (plan.Run(("a",)), plan.Run(("never",)))), plan.Step("lift", "2", "x", (plan.Run(("b",)),)),
             plan.Step("limit", "3", "x", (plan.Write("/none/io.max", "1"),))]
    failed = host.Host(commands, str(root)).carry_out(steps)
    assert failed[0] == "limit 1: x: 'a' failed with return code 2: no"
    assert failed[1].startswith("limit 3: x: [Errno 2] No such file or directory")
    assert len(failed) == 2
    assert [argv for argv, _data in commands.asked] == [("a",), ("b",)]


def test_a_thread_that_has_ended_is_no_failure(root, monkeypatch):
    def gone(*_arguments, **_settings):
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr("builtins.open", gone)
    assert host.Host(Commands({}), str(root)).carry_out([plan.Step("limit", "x", "y", (plan.Write("/a", "70"),))]) == []
