# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What came of two hosts that passed from ifupdown to networkd: nothing of ifupdown is left, and frames of 9000 bytes arrive whole."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

ROOT = os.environ["MOLECULE_PROJECT_DIRECTORY"]


def lab(*words: str, timeout: int = 120) -> None:
    subprocess.run([sys.executable, "-m", "lab", "--name", "ifupdown", *words], cwd=ROOT, check=True, timeout=timeout)


def addresses(host, device: str) -> list[str]:
    shown = json.loads(host.check_output(f"ip -j addr show dev {device} scope global"))
    return [f"{entry['local']}/{entry['prefixlen']}" for link in shown for entry in link.get("addr_info", []) if entry]


def members(host, bond: str) -> list[str]:
    text = host.file(f"/proc/net/bonding/{bond}").content_string
    return sorted(line.split(": ")[1] for line in text.splitlines() if line.startswith("Slave Interface"))


def number(host) -> int:
    return int(host.check_output("cat /proc/sys/kernel/hostname")[-1])


def assert_the_network_stands(host) -> None:
    own = number(host)
    assert addresses(host, "xenbr0") == ["10.0.2.15/24"]
    assert addresses(host, "xenbr30") == [f"10.30.0.{own}/24", f"fd00:30::{own}/64"]
    assert members(host, "bond0") == ["eth0", "eth3"]
    assert members(host, "bond1") == ["eth1", "eth2"]
    assert json.loads(host.check_output("ip -j route show default"))[0]["gateway"] == "10.0.2.2"
    assert host.check_output("ls /sys/class/net/xenbr30/brif").split() == ["bond1.30"]


def test_networkd_has_all_of_it_and_ifupdown_nothing(host):
    assert not host.file("/etc/network/interfaces.d/xenfold").exists
    assert [line for line in host.file("/etc/network/interfaces").content_string.splitlines() if line.startswith("iface")] == [
        "iface lo inet loopback"]
    assert set(host.run("ifquery --state").stdout.split()) <= {"lo=lo"}
    assert host.service("systemd-networkd").is_running and host.service("systemd-networkd").is_enabled
    assert_the_network_stands(host)


@pytest.mark.parametrize("device", ["eth1", "eth2", "bond1", "bond1.30", "xenbr30"])
def test_every_layer_is_as_wide(host, device):
    assert host.file(f"/sys/class/net/{device}/mtu").content_string.strip() == "9000"


@pytest.mark.parametrize(("network", "payload"), [("10.30.0.", 8972), ("fd00:30::", 8952)])
def test_frames_of_full_size_reach_the_other_host(host, network, payload):
    host.check_output(f"ping -n -c 1 -w 20 -M do -s {payload} {network}{3 - number(host)}")


def test_nothing_larger_fits(host):
    assert host.run(f"ping -n -c 1 -w 5 -M do -s 8973 10.30.0.{3 - number(host)}").rc != 0


def test_the_guard_is_settled(host):
    assert host.file("/var/lib/xenfold/network/confirmed").exists
    assert not host.file("/etc/systemd/system/xenfold-network-boot.service").exists


def test_the_host_comes_back_with_the_same_network(host):
    """xen02 from its disks, after the plug was pulled, while xen01 stands; that one has booted by ifupdown's files before."""
    if number(host) == 2:
        host.check_output("sync")
        lab("power-off", "xen02")
        lab("power-on", "xen02", timeout=600)
    deadline = time.monotonic() + 60
    while host.run(f"ping -n -c 1 -w 5 -M do -s 8972 10.30.0.{3 - number(host)}").rc:
        assert time.monotonic() < deadline
    assert_the_network_stands(host)
