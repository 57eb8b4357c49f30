# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""After site.yml the audit finds nothing on either host; it finds what is then spoilt by hand, and nothing again once that is undone."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
FOLDER = ROOT / "build" / "consolidation"
XL_CONF = "/etc/xen/xl.conf"


def audit(*arguments: str) -> tuple[int, dict, str]:
    """Code, audit.json and output of a run on the scenario's hosts, as a person starts it."""
    # Molecule's own settings of Ansible do not belong to it, nor does the record of what the scenario's run did.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment |= {"XENFOLD_LAB_DIR": str(ROOT / "build" / "lab" / "consolidation"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        [sys.executable, "tools/audit.py", "-i", "inventories/lab", "-e", f"plan_dir={FOLDER}", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900,
    )
    said = done.stdout + done.stderr
    return done.returncode, json.loads((FOLDER / "audit.json").read_text()) if (FOLDER / "audit.json").exists() else {}, said


def on(host: str, command: str) -> str:
    """What a command on a host of the lab prints."""
    lab = [sys.executable, "-m", "lab", "--name", "consolidation", "ssh", host, command]
    return subprocess.run(lab, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300).stdout


def test_both_hosts_are_in_sync_and_a_second_audit_writes_nothing() -> None:
    code, found, said = audit()
    assert code == 0, said
    assert found["verdict"] == "in_sync", said
    assert {name: (host["verdict"], host["findings"], host["unasked"]) for name, host in found["hosts"].items()} == {
        "xen01": ("in_sync", [], []), "xen02": ("in_sync", [], [])}
    for host in found["hosts"].values():
        assert {"distribution", "kernel", "xen"} <= set(host["versions"]), host["versions"]
    before = {name: ((FOLDER / name).read_bytes(), (FOLDER / name).stat().st_mtime_ns) for name in ("audit.json", "audit.md")}
    code, _found, said = audit()
    assert code == 0, said
    assert {name: ((FOLDER / name).read_bytes(), (FOLDER / name).stat().st_mtime_ns) for name in before} == before


@pytest.fixture(name="spoilt")
def _spoilt() -> Iterator[tuple[str, str]]:
    """A failed member of xen02's array and another line in a file of the role dom0; both undone afterwards."""
    mdstat = on("xen02", "cat /proc/mdstat")
    device = next(word.partition("[")[0] for word in mdstat.split() if word.startswith("vd"))
    serial = on("xen02", f"lsblk -dno SERIAL /dev/{device}").strip()
    on("xen02", f"cp -p {XL_CONF} /root/xl.conf.kept")
    on("xen02", f"echo 'lockfile=\"/var/lock/other\"' >> {XL_CONF}; mdadm --manage /dev/md/guests --fail /dev/{device}")
    yield device, serial
    on("xen02", f"mv /root/xl.conf.kept {XL_CONF}")
    on("xen02", f"mdadm --manage /dev/md/guests --remove /dev/{device}; mdadm --manage /dev/md/guests --re-add /dev/{device}")
    deadline = time.monotonic() + 600
    while "[4/4] [UUUU]" not in (now := on("xen02", "cat /proc/mdstat")):
        assert time.monotonic() < deadline, now
        time.sleep(5)


def test_a_failed_disk_and_a_changed_file_are_named(spoilt: tuple[str, str]) -> None:
    device, serial = spoilt
    code, found, said = audit()
    assert code == 10, said
    assert {name: host["verdict"] for name, host in found["hosts"].items()} == {"xen01": "in_sync", "xen02": "drift"}, said
    findings = {entry["kind"]: entry for entry in found["hosts"]["xen02"]["findings"]}
    assert sorted(findings) == ["array_degraded", "file"], said
    assert f"disk {device} (serial {serial}) failed" in findings["array_degraded"]["found"]
    assert (findings["file"]["item"], findings["file"]["found"]) == (XL_CONF, 'lockfile="/var/lock/other"')
    code, limited, said = audit("--limit", "xen01")
    assert (code, limited["verdict"], limited["not_asked"]) == (0, "in_sync", ["xen02"]), said


def test_hosts_are_in_sync_again() -> None:
    code, found, said = audit()
    assert (code, found["verdict"]) == (0, "in_sync"), said
