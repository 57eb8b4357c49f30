# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A guest on an iSCSI disk that both hosts reach: a target in user space on this machine, the initiators of the hosts."""
from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moving import ADDRESSES, GUEST, apply, plan, wanted, where, workload
from scene import HOSTS, Scene

from tests.lab.hands import ROUNDS

TARGET = "iqn.2026-11.example.lab:store"
# QEMU lets these hosts reach nothing outside, so the way to the target is a tunnel of SSH, which ends on each of them.
PORTAL, PORT, CONTROL = "127.0.0.1", 3261, "7"
DISK = f"/dev/disk/by-path/ip-{PORTAL}:{PORT}-iscsi-{TARGET}-lun-1"
HERE, THERE = HOSTS


def admin(*words: str) -> None:
    subprocess.run(["tgtadm", "-C", CONTROL, "--lld", "iscsi", *words], check=True, capture_output=True, text=True, timeout=30)


@contextlib.contextmanager
def tunnel(scene: Scene, host: str) -> Iterator[None]:
    way = f"{PORTAL}:{PORT}:127.0.0.1:{PORT}"
    # A connection of its own: the one that tests share takes no end with it.
    words = ["ssh", "-F", str(scene.lab.ssh_config), "-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes", "-N", "-R", way, host]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        scene.wait(host, f"ss -ltn | grep -q '{PORTAL}:{PORT} '", 60, "ss -ltn")
        yield
    finally:
        process.kill()
        process.wait(timeout=30)


@pytest.fixture(name="store")
def _store(fresh: Scene, tmp_path: Path) -> Iterator[Path]:
    """A target with one disk of 64 MiB, which is a file; both hosts reach it."""
    disk = tmp_path / "disk"
    with disk.open("wb") as stream:
        stream.truncate(64 * 2**20)
    daemon = subprocess.Popen(["tgtd", "-f", "-C", CONTROL, "--iscsi", f"portal=127.0.0.1:{PORT}"])
    try:
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                admin("--op", "new", "--mode", "target", "--tid", "1", "-T", TARGET)
                break
            assert daemon.poll() is None and time.monotonic() < end
            time.sleep(0.2)
        admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "-b", str(disk))
        admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
        with tunnel(fresh, HERE), tunnel(fresh, THERE):
            yield disk
    finally:
        daemon.kill()
        daemon.wait(timeout=30)


def shared(scene: Scene, to: str, current: str | None) -> dict[str, Any]:
    """The lab's estate with the guest that counts, now onto a disk of the target."""
    settings = wanted(scene, to, current)
    guest: dict[str, Any] = {**workload(GUEST, ADDRESSES[GUEST]), "disks": [{"path": DISK, "limits": {"write_iops": 2000}}]}
    guest |= {"current": current} if current else {}
    workloads = [guest if one["name"] == GUEST else one for one in settings["estate_workloads"]]
    return {**settings, "estate_workloads": workloads, "storage_iscsi": [{"portal": f"{PORTAL}:{PORT}", "target": TARGET}]}


@pytest.mark.skipif(ROUNDS < 2, reason="takes a quarter of an hour: make lab-soak")
def test_a_guest_on_a_shared_disk_moves_live(fresh: Scene, store: Path) -> None:
    settings = shared(fresh, HERE, None)
    reach = ("--tags", "storage", "-e", f"plan_dir={fresh.folder}/moves")
    shown = fresh.play("playbooks/provision.yml", "both", (*reach, "--check", "--diff"), settings, 1200, limit=False)
    assert shown.rc == 0 and f"log in target {TARGET}" in shown.text, shown.text
    done = fresh.play("playbooks/provision.yml", "both", reach, settings, 1200, limit=False)
    assert done.rc == 0, done.text
    for host in HOSTS:
        fresh.holds(host, f"test -b {DISK}", "grep -q 'iscsi-iqn' /etc/lvm/lvmlocal.conf")
    again = fresh.play("playbooks/provision.yml", "both", reach, settings, 1200, limit=False)
    assert (again.rc, set(again.changed.values())) == (0, {0}), again.text

    plan(fresh, settings)
    done = apply(fresh, settings)
    assert done.rc == 0, done.text
    fresh.wait(HERE, f"grep -q 'count 5' /var/log/xen/console/guest-{GUEST}.log", 120)
    fresh.holds(HERE, f"grep -q 'guest {GUEST} disk formatted' /var/log/xen/console/guest-{GUEST}.log")
    settings = shared(fresh, THERE, HERE)
    plan(fresh, settings)
    done = apply(fresh, settings)
    assert done.rc == 0, done.text
    assert where(fresh) == {HERE: [], THERE: [GUEST]}
    fresh.counts_on(THERE, GUEST)
    numbers = fresh.counted(GUEST)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    fresh.holds(THERE, f"grep -q 'wiops=2000' /sys/fs/cgroup/xenfold/guest-{GUEST}/io.max")
    # What it wrote before and after is whole.
    fresh.run(THERE, f"xl shutdown -w {GUEST}", timeout=180)
    checked = subprocess.run(["e2fsck", "-fn", str(store)], capture_output=True, text=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr
