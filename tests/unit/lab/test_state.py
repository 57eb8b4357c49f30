# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import dataclasses
import fcntl
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import labs, process, ssh, state
from lab.errors import LabError
from lab.faults import check_bay, find_nic, free_bay, new_disk, plug_disk
from lab.qemu import Disk
from lab.spec import Spec
from lab.state import Lab


def test_a_lab_reads_back_as_it_was_made(lab: Lab) -> None:
    assert state.find_lab("t") == lab
    assert state.find_lab("none") is None
    assert lab.folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(LabError, match="lab none does not exist; run: python3 -m lab --name none up"):
        state.need_lab("none")


def test_two_labs_share_no_port(lab: Lab) -> None:
    other = state.new_lab("u", Spec(hosts=3), "tcg", "bookworm-0")

    def ports(one: Lab) -> list[int]:
        return [*one.ssh_ports.values(), *one.hub_ports, *(port for own in one.udp_ports.values() for port in own)]

    both = ports(lab) + ports(other)
    assert len(both) == len(set(both)) == 2 + 3 * 2 + 3 + 4 * 2


def test_ports_in_use_are_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert port not in state.free_ports(1, set(), [port, *range(21000, 31000)])
        with pytest.raises(LabError, match="1 free loopback ports wanted"):
            state.free_ports(1, set(), [port])


def test_the_links_of_two_hosts_end_at_each_other(lab: Lab) -> None:
    first, second = (lab.machine(host).links for host in lab.hosts)
    assert [(other, own) for own, other in first] == list(second)


def test_the_links_of_three_hosts_end_at_the_hub(labs_folder: Path) -> None:
    three = state.new_lab("three", Spec(hosts=3), "tcg", "bookworm-0")
    assert three.has_hub()
    assert all([other for _, other in three.machine(host).links] == three.hub_ports for host in three.hosts)


def test_a_damaged_record_says_what_to_do(lab: Lab) -> None:
    (lab.folder / "spec.json").write_text("{")
    with pytest.raises(LabError, match=r"spec.json: damaged .* down"):
        state.find_lab("t")


def test_ssh_config_names_all_that_a_client_needs(lab: Lab, tmp_path: Path) -> None:
    text = ssh.config_text(lab, tmp_path / "key s")
    block = text.split("\n\n")[1].splitlines()
    assert block[0] == "Host xen02"
    assert f"  Port {lab.ssh_ports['xen02']}" in block
    assert f'  IdentityFile "{tmp_path}/key s/id_ed25519"' in block
    assert f'  UserKnownHostsFile "{lab.folder}/known_hosts"' in block
    assert "  StrictHostKeyChecking yes" in block
    assert "ControlMaster" not in text
    known = ssh.known_hosts_text(lab, "ssh-ed25519 AAAA xenfold-lab\n")
    assert known.splitlines()[0] == f"[127.0.0.1]:{lab.ssh_ports['xen01']} ssh-ed25519 AAAA"


def test_only_a_server_that_speaks_ssh_counts_as_ready() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        # Accepted by the kernel and silent, as QEMU's user network is before the host is up.
        assert not ssh.has_banner(port, timeout=0.2)
    assert not ssh.has_banner(port, timeout=0.2)


def test_a_foreign_process_is_never_taken_for_a_host(lab: Lab) -> None:
    path = process.pidfile(lab, "xen01")
    path.write_text(f"{os.getpid()}\n")
    assert not process.alive(lab, "xen01")
    assert not process.kill(path)
    assert not path.exists()
    path.write_text("no number")
    assert not process.alive(lab, "xen01")


def test_up_refuses_another_shape_and_names_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.requirements.need_programs", lambda programs: None)
    with pytest.raises(LabError, match=r"--hosts: it has 2, asked for 3\. To replace it run: python3 -m lab --name t down"):
        labs.up("t", Spec(hosts=3))


def test_up_refuses_too_little_memory_before_anything_is_made(labs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.requirements.need_programs", lambda programs: None)
    monkeypatch.setattr("lab.requirements.available_memory_mib", lambda: 4000)
    with pytest.raises(LabError, match="not enough memory: 2 hosts"):
        labs.up("new", Spec())
    assert not (labs_folder / "new").exists()


def test_down_removes_the_run_folder_and_may_be_repeated(lab: Lab) -> None:
    labs.down("t")
    assert not lab.folder.exists()
    labs.down("t")


def test_snapshots_remember_the_disks(lab: Lab) -> None:
    assert lab.snapshots() == {}
    saved = {"bare": {host: lab.disks(host) for host in lab.hosts}}
    lab.write_snapshots(saved)
    assert lab.snapshots() == saved


def test_a_kept_state_serves_whether_writes_are_logged_or_not(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.labs.run", lambda words, timeout: "QEMU 7\n")
    keys = [labs.booted_key(dataclasses.replace(lab, spec=spec)) for spec in (Spec(), Spec(log_writes=True), Spec(hosts=3))]
    assert keys[0] == keys[1] != keys[2]


def test_a_new_disk_takes_a_new_file_and_serial(lab: Lab) -> None:
    first = new_disk(lab, "xen02", 3, None)
    assert first == Disk(3, "disk3-1.qcow2", "XF2D3R1")
    (lab.host_folder("xen02") / first.file).touch()
    assert new_disk(lab, "xen02", 3, "MINE").file == "disk3-2.qcow2"
    with pytest.raises(LabError, match="--serial"):
        new_disk(lab, "xen02", 3, "a,b")


class Monitor:
    """Stands for QEMU's monitor and writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def monitor(self, line: str) -> str:
        self.told.append(line)
        return "OK"

    def execute(self, name: str, arguments: dict[str, str]) -> None:
        self.told.append((name, arguments["serial"], arguments["bus"]))


@pytest.fixture(name="monitor")
def _monitor(monkeypatch: pytest.MonkeyPatch) -> Monitor:
    monitor = Monitor()
    monkeypatch.setattr("lab.faults.process.monitor", lambda lab, host: monitor)
    return monitor


@pytest.mark.parametrize(("asked", "made"), [(None, 2), (3, 3)])
def test_a_plugged_disk_takes_the_first_free_bay(
    lab: Lab, monitor: Monitor, monkeypatch: pytest.MonkeyPatch, asked: int | None, made: int
) -> None:
    sizes: list[tuple[str, int]] = []
    monkeypatch.setattr("lab.faults.images.create_empty", lambda path, size: sizes.append((path.name, size)))
    assert free_bay(lab, "xen01") is None
    lab.write_disks("xen01", [disk for disk in lab.disks("xen01") if disk.bay not in (2, 4)])
    plug_disk(lab, "xen01", "NEW", asked)
    assert sizes == [("disk2-1.qcow2", made)]
    assert monitor.told[1:] == [("device_add", "NEW", "rp2")]
    assert [(disk.bay, disk.serial) for disk in lab.disks("xen01")] == [(1, "XF1D1"), (2, "NEW"), (3, "XF1D3")]
    assert [disk.bay for disk in lab.disks("xen02")] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("serial", "size", "message"),
    [
        ("NEW", 0, "--size-gib 0: allowed: 1 to 64"),
        ("NEW", 65, "--size-gib 65: allowed: 1 to 64"),
        ("a,b", None, "--serial 'a,b': allowed: letters"),
        ("XF1D1", None, "serial XF1D1 is that of another disk of this host"),
    ],
)
def test_a_disk_that_cannot_be_plugged_is_refused(
    lab: Lab, monitor: Monitor, serial: str, size: int | None, message: str
) -> None:
    lab.write_disks("xen01", [disk for disk in lab.disks("xen01") if disk.bay != 2])
    with pytest.raises(LabError) as caught:
        plug_disk(lab, "xen01", serial, size)
    assert message in str(caught.value)
    assert not monitor.told
    assert len(lab.disks("xen01")) == 3


def test_bays_and_nics_are_checked(lab: Lab) -> None:
    assert check_bay(lab, 4) == 4
    with pytest.raises(LabError, match="disk 5: this lab has disks 1 to 4 in a host"):
        check_bay(lab, 5)
    assert find_nic(lab, "xen01", "eth2").netdev == "n2"
    with pytest.raises(LabError, match="eth9: xen01 has eth0, eth1, eth2"):
        find_nic(lab, "xen01", "eth9")


def _hold(name: str, ready: object, leave: object) -> None:
    with state.locked(name):
        ready.set()  # type: ignore[attr-defined]
        leave.wait(20)  # type: ignore[attr-defined]


def test_one_command_at_a_time_works_on_a_lab() -> None:
    name = f"locked-{os.getpid()}"
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(name, ready, leave))
    other.start()
    try:
        assert ready.wait(20)
        with pytest.raises(LabError, match="another command has been at work"), state.locked(name, limit_seconds=0.3):
            pass
        with state.locked(name + "-other", limit_seconds=0.3):
            pass
    finally:
        leave.set()
        other.join(20)
    with state.locked(name, limit_seconds=5):
        pass


def test_a_host_that_ends_is_told_at_once_with_its_console(lab: Lab) -> None:
    lab.serial_log("xen01").write_text("Booting\nlast words\n")
    begun = time.monotonic()
    with pytest.raises(LabError, match=r"(?s)xen01: its QEMU process has ended.*last words"):
        ssh.wait_ready(lab, lab.hosts, timeout=60, alive=lambda _, host: host == "xen02")
    assert time.monotonic() - begun < 20


def test_a_panic_ends_the_wait(lab: Lab) -> None:
    lab.serial_log("xen02").write_text("Panic on CPU 0:\n")
    with pytest.raises(LabError, match=r"xen02: it stopped: Panic on CPU"):
        ssh.wait_ready(lab, ["xen02"], timeout=60, alive=lambda _, host: True)


def test_the_wait_for_a_silent_host_is_bounded(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"xen01: no SSH greeting within 1 s"):
        ssh.wait_ready(lab, ["xen01"], timeout=1, alive=lambda _, host: True)


HOLDER = """
import fcntl, os, sys, time
memory = bytearray(os.urandom(2**20)) * 400
lock = open(sys.argv[2], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(60)
"""


def test_a_process_that_was_killed_holds_nothing_any_more(tmp_path: Path) -> None:
    """Its memory, and with it its command line, goes before its files: a QEMU of some GiB still had its images locked."""
    path, held = tmp_path / "pid", tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path), str(held)]) as child:
        end = time.monotonic() + 30
        while process.running_pid(path) is None:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert process.kill(path)
        with held.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert child.wait() == -signal.SIGKILL
    assert not process.kill(path)
