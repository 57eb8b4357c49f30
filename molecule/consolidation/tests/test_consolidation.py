# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an operator sees on the hosts after site.yml: Xen, the bond, the array, the volumes and the guests of the plan."""
from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

PLAN = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "build" / "consolidation" / "plan.json"
ADDRESSES = {"web01": "10.9.0.51", "web02": "10.9.0.52", "db01": "10.9.0.53", "batch01": "10.9.0.54"}


@pytest.fixture(name="plan", scope="module")
def _plan():
    return json.loads(PLAN.read_text())


@pytest.fixture(name="guests")
def _guests(host, plan):
    return plan["hosts"].get(host.check_output("hostname"), {}).get("workloads", [])


def test_the_preview_on_bare_hosts_showed_what_the_run_then_did():
    """The run that finds nothing to do, for idempotence, records nothing."""
    records = [json.loads(line) for line in Path(os.environ["XENFOLD_ACTIONS"]).read_text().splitlines()]

    def taken(check):
        return sorted((record["host"], record["task"], record["actions"]) for record in records if record["check"] is check)

    assert len(taken(True)) > 10
    assert taken(True) == taken(False)


def test_the_plan_keeps_the_rule(plan):
    assert plan["status"] in ("optimal", "feasible", "nothing_to_do")
    assert sorted(plan["placement"]) == sorted(ADDRESSES)
    assert plan["placement"]["web01"] != plan["placement"]["web02"]


def test_xen_runs_as_asked(host):
    info = dict(line.split(":", 1) for line in host.check_output("xl info").splitlines() if ":" in line)
    words = next(value for key, value in info.items() if key.strip() == "xen_commandline").split()
    assert {"dom0_mem=896M,max:896M", "dom0_max_vcpus=1"} <= set(words)


def test_the_bond_speaks_lacp_with_its_partner(host):
    text = host.file("/proc/net/bonding/bond0").content_string
    assert "IEEE 802.3ad" in text
    assert "Number of ports: 2" in text, text
    partners = [line.split(": ")[1] for line in text.splitlines() if line.strip().startswith("Partner Mac Address")]
    assert partners
    assert "00:00:00:00:00:00" not in partners, text
    assert "bond0" in host.check_output("ls /sys/class/net/xenbr0/brif").split()


def test_the_other_host_answers_over_the_bond(host):
    for number in (1, 2):
        assert host.run(f"ping -c 2 -W 5 10.9.0.{number}").rc == 0


def test_the_array_is_a_raid10_of_four(host):
    text = host.file("/proc/mdstat").content_string
    assert " active raid10 " in text, text
    assert "[4/4] [UUUU]" in text, text
    assert host.file("/etc/mdadm/mdadm.conf").contains("^ARRAY ")


def test_guests_have_their_volumes(host, guests):
    volumes = [name for name in host.check_output("lvs --noheadings -o lv_name vg_guests").split() if name.endswith("-data")]
    assert sorted(volumes) == sorted(f"{name}-data" for name in guests)


def test_guests_run_where_the_plan_wants_them(host, guests):
    rows = host.check_output("xl list").splitlines()[1:]
    assert sorted(row.split()[0] for row in rows) == sorted([*guests, "Domain-0"])


def test_guests_start_with_the_host(host, guests):
    links = sorted(host.check_output("ls /etc/xen/auto").split())
    expected = [f"05-{name}" if name == "db01" else f"10-{name}" for name in guests if name != "batch01"]
    assert [link.removesuffix(".cfg") for link in links] == sorted(expected)


@pytest.mark.parametrize("name", sorted(ADDRESSES))
def test_guests_answer_on_their_bridge(host, name):
    deadline = time.monotonic() + 120
    while host.run(f"ping -c 1 -W 5 {ADDRESSES[name]}").rc != 0:
        assert time.monotonic() < deadline, f"{name} does not answer at {ADDRESSES[name]}"
        time.sleep(3)


def test_guests_write_to_their_disks(host, guests):
    for name in guests:
        log = f"/var/log/xen/console/guest-{name}.log"
        deadline = time.monotonic() + 120
        while f"xenfold guest {name} up" not in host.run(f"cat {log}").stdout:
            assert time.monotonic() < deadline, host.run(f"tail -n 30 {log}").stdout
            time.sleep(3)
        # Without its disk it would count in memory all the same.
        text = host.file(log).content_string
        assert f"xenfold guest {name} disk formatted" in text or f"xenfold guest {name} disk kept" in text, text


def test_nothing_failed_on_the_host(host):
    # networking needs a moment in emulation; what stays failed is a fault.
    failed = host.check_output("systemctl --failed --no-legend --plain")
    assert not [line for line in failed.splitlines() if any(w in line for w in ("networkd", "mdadm", "xen", "lvm"))], failed
