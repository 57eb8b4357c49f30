# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The management address lies on a bridge over a bond, and the host stays reachable when one cable goes."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

ROOT = os.environ["MOLECULE_PROJECT_DIRECTORY"]


def lab(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "lab", "--name", "network", *words], cwd=ROOT, check=True, timeout=120)


def addresses(host, device: str) -> list[str]:
    shown = json.loads(host.check_output(f"ip -j -4 addr show dev {device}"))
    return [f"{entry['local']}/{entry['prefixlen']}" for link in shown for entry in link.get("addr_info", [])]


def test_the_address_is_on_the_bridge_alone(host):
    assert addresses(host, "xenbr0") == ["10.0.2.15/24"]
    assert addresses(host, "eth0") == []
    assert json.loads(host.check_output("ip -j route show default"))[0]["gateway"] == "10.0.2.2"
    assert not host.file("/etc/systemd/network/05-lab-management.network").exists


def test_both_cards_are_in_the_bond_and_the_bond_in_the_bridge(host):
    text = host.file("/proc/net/bonding/bond0").content_string
    assert "active-backup" in text
    assert sorted(line.split(": ")[1] for line in text.splitlines() if line.startswith("Slave Interface")) == ["eth0", "eth3"]
    assert host.check_output("ls /sys/class/net/xenbr0/brif").split() == ["bond0"]
    assert host.check_output("ls /sys/class/net/xenbr20/brif").split() == ["bond0.20"]


def test_the_guard_is_settled(host):
    assert host.file("/var/lib/xenfold/network/confirmed").exists
    assert not host.file("/etc/systemd/system/xenfold-network-boot.service").exists
    assert host.run("systemctl is-active xenfold-network-guard.timer").stdout.strip() != "active"


@pytest.mark.parametrize("cable", ["eth0", "eth3"])
def test_one_cable_may_go(host, cable):
    lab("unplug-nic", "xen01", cable)
    try:
        deadline = time.monotonic() + 60
        while f"Slave Interface: {cable}\nMII Status: down" not in host.file("/proc/net/bonding/bond0").content_string:
            assert time.monotonic() < deadline
            time.sleep(1)
        assert addresses(host, "xenbr0") == ["10.0.2.15/24"]
    finally:
        lab("plug-nic", "xen01", cable)
    deadline = time.monotonic() + 60
    while f"Slave Interface: {cable}\nMII Status: up" not in host.file("/proc/net/bonding/bond0").content_string:
        assert time.monotonic() < deadline
        time.sleep(1)


def test_the_host_comes_back_at_the_same_address(host):
    """From its disks, after the plug was pulled."""
    host.check_output("sync")
    lab("power-off", "xen01")
    subprocess.run([sys.executable, "-m", "lab", "--name", "network", "power-on", "xen01"], cwd=ROOT, check=True, timeout=600)
    assert addresses(host, "xenbr0") == ["10.0.2.15/24"]
