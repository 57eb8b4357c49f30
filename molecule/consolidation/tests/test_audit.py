# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""After site.yml the audit finds nothing on either host; it finds what is then spoilt by hand."""
from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from scene import Scene

from tests.lab.hands import ROOT, ROUNDS

XL_CONF = "/etc/xen/xl.conf"


def audit(scene: Scene, *words: str) -> tuple[int, dict, str]:
    """Code, audit.json and output of a run on the scenario's hosts, as a person starts it."""
    done = subprocess.run(
        [sys.executable, "tools/audit.py", "-i", str(scene.inventory), "-e", f"plan_dir={scene.folder}", *words],
        cwd=ROOT, env=scene.environment(), capture_output=True, text=True, timeout=900,
    )
    found = scene.folder / "audit.json"
    return done.returncode, json.loads(found.read_text()) if found.exists() else {}, done.stdout + done.stderr


@pytest.mark.skipif(ROUNDS < 2, reason="the next test sees one host in step and one that is not: make lab-soak")
def test_both_hosts_are_in_sync(scene: Scene) -> None:
    code, found, said = audit(scene)
    assert code == 0, said
    assert found["verdict"] == "in_sync", said
    assert {name: (host["verdict"], host["findings"], host["unasked"]) for name, host in found["hosts"].items()} == {
        "xen01": ("in_sync", [], []), "xen02": ("in_sync", [], [])}
    for host in found["hosts"].values():
        assert {"distribution", "kernel", "xen"} <= set(host["versions"]), host["versions"]


@pytest.fixture(name="spoilt")
def _spoilt(scene: Scene) -> Iterator[tuple[str, str]]:
    """A failed member of xen02's array and another line in a file of the role dom0; both undone afterwards."""
    mdstat = scene.run("xen02", "cat /proc/mdstat")
    device = next(word.partition("[")[0] for word in mdstat.split() if word.startswith("vd"))
    serial = scene.run("xen02", f"lsblk -dno SERIAL /dev/{device}")
    scene.run("xen02", f"cp -p {XL_CONF} /root/xl.conf.kept")
    scene.run("xen02", f"echo 'lockfile=\"/var/lock/other\"' >> {XL_CONF}; mdadm --manage /dev/md/guests --fail /dev/{device}")
    yield device, serial
    scene.run("xen02", f"mv /root/xl.conf.kept {XL_CONF}")
    scene.run("xen02", f"mdadm --manage /dev/md/guests --remove /dev/{device}; mdadm --manage /dev/md/guests --re-add /dev/{device}")
    scene.wait("xen02", "grep -q '\\[4/4\\] \\[UUUU\\]' /proc/mdstat", 600)


def test_a_failed_disk_and_a_changed_file_are_named(scene: Scene, spoilt: tuple[str, str]) -> None:
    device, serial = spoilt
    code, found, said = audit(scene)
    assert code == 10, said
    assert {name: host["verdict"] for name, host in found["hosts"].items()} == {"xen01": "in_sync", "xen02": "drift"}, said
    assert (found["hosts"]["xen01"]["findings"], found["hosts"]["xen01"]["unasked"]) == ([], []), said
    findings = {entry["kind"]: entry for entry in found["hosts"]["xen02"]["findings"]}
    assert sorted(findings) == ["array_degraded", "file"], said
    assert f"disk {device} (serial {serial}) failed" in findings["array_degraded"]["found"]
    assert (findings["file"]["item"], findings["file"]["found"]) == (XL_CONF, 'lockfile="/var/lock/other"')
