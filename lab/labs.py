# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A lab as a whole: up, down, status."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from lab import faults, images, process, qemu, requirements, snapshots, ssh
from lab.accel import accelerator
from lab.console import run, say
from lab.errors import LabError
from lab.image import Store, ensure_image, store_of
from lab.paths import cache_root, labs_root, run_folder
from lab.spec import Spec, check_name, differences
from lab.state import Lab, find_lab, new_lab

# The state that a booted lab is kept in, in the cache.
_BOOTED = "booted"
_KEPT_BOOTED = 4


def up(name: str, spec: Spec, snapshot: str | None = None, timeout: float = faults.BOOT_SECONDS) -> Lab:
    """Make the lab be there and answer SSH. With `snapshot`: in that state, which is saved when it is not there yet."""
    if snapshot is not None:
        check_name("--snapshot", snapshot)
        snapshots.need_states(spec)
    requirements.need_programs(requirements.RUN_PROGRAMS)
    lab = find_lab(name)
    if lab is not None:
        changed = differences(lab.spec, spec)
        if changed:
            raise LabError(
                f"lab {name} exists and differs: {'; '.join(changed)}. To replace it run: python3 -m lab --name {name} down"
            )
        if not all((lab.host_folder(host) / qemu.ROOT_FILE).exists() for host in lab.hosts):
            raise LabError(f"lab {name} is incomplete; run: python3 -m lab --name {name} down")
        _again(lab, snapshot, timeout)
        return lab
    requirements.need_memory(spec.hosts, spec.memory_mib, requirements.available_memory_mib())
    requirements.need_disk(spec.hosts * requirements.host_disk_mib(spec.log_writes), run_folder(name), f"{spec.hosts} hosts")
    store = ensure_image(spec.release, spec.kind)
    # The IOMMU is AMD's, which a processor of Intel would not use.
    accel = "tcg" if spec.iommu else accelerator(cache_root())
    lab = new_lab(name, spec, accel, store.folder.name)
    _furnish(lab, store)
    _first_start(lab, store, timeout)
    if snapshot is not None:
        snapshots.save(lab, snapshot)
    say(f"lab {name} is up: {', '.join(lab.hosts)}; ssh -F {lab.ssh_config} {lab.hosts[0]}")
    return lab


def _again(lab: Lab, snapshot: str | None, timeout: float) -> None:
    """`up` for a lab that exists with the same spec."""
    stopped = [host for host in lab.hosts if not process.alive(lab, host)]
    if stopped:
        requirements.need_memory(len(stopped), lab.spec.memory_mib, requirements.available_memory_mib())
    if snapshot is not None and snapshot in lab.snapshots():
        snapshots.restore(lab, snapshot)
        return
    if stopped:
        say(f"lab {lab.name}: starting {', '.join(stopped)}")
        faults.power_on(lab, stopped, timeout)
    else:
        say(f"lab {lab.name} is running already, with the same spec")
    if snapshot is not None:
        snapshots.save(lab, snapshot)


def _furnish(lab: Lab, store: Store) -> None:
    """What a run folder needs beside disks: SSH files, the files QEMU boots from, the test guest."""
    ssh.write_files(lab, store.keys)
    if lab.spec.kind == "xen":
        for host in lab.hosts:
            for file in ("xen", "vmlinux", "initrd.img"):
                (lab.host_folder(host) / file).symlink_to(store.image("xen") / file)
    (lab.folder / "guest").mkdir()
    for file in ("vmlinux", "initrd"):
        target = lab.folder / "guest" / file
        try:
            os.link(store.guest / file, target)
        except OSError:
            shutil.copyfile(store.guest / file, target)


def _first_start(lab: Lab, store: Store, timeout: float) -> None:
    """From the kept booted state of such a lab when there is one, else a cold boot, whose state is then kept."""
    kept = store.booted / booted_key(lab)
    process.start_hub(lab)
    if (kept / "complete").exists():
        say("starting from the kept state of a booted lab")
        snapshots.in_all(lab.hosts, lambda host: _copy_disks(lab, host, kept / host, lab.host_folder(host)))
        lab.write_snapshots({_BOOTED: {host: lab.disks(host) for host in lab.hosts}})
        try:
            snapshots.resume(lab, _BOOTED)
            return
        except LabError as error:
            say(f"the kept state does not start, booting instead ({str(error).splitlines()[0]})")
            snapshots.in_all(lab.hosts, lambda host: process.kill_host(lab, host))
            shutil.rmtree(kept, ignore_errors=True)
            lab.write_snapshots({})
    base = store.image(lab.spec.kind) / qemu.ROOT_FILE
    for host in lab.hosts:
        images.create_overlay(lab.host_folder(host) / qemu.ROOT_FILE, base)
        for disk in lab.disks(host):
            images.create_empty(lab.host_folder(host) / disk.file, lab.spec.disk_gib)
    say(f"booting {len(lab.hosts)} hosts")
    begun = time.monotonic()
    snapshots.in_all(lab.hosts, lambda host: process.start(lab, lab.machine(host)))
    ssh.wait_ready(lab, lab.hosts, timeout, process.alive)
    say(f"cold boot took {time.monotonic() - begun:.0f} s")
    if not lab.spec.iommu:
        _keep_booted(lab, kept)


def _keep_booted(lab: Lab, kept: Path) -> None:
    """Save the booted hosts, copy their disks into the cache, go on from the saved state.

    Going on in a fresh QEMU also gives back the memory that the boot has touched (2 GiB a host).
    """
    snapshots.save(lab, _BOOTED)
    snapshots.in_all(lab.hosts, lambda host: process.quit_host(lab, host))
    fresh = kept.with_name(f"{kept.name}.{os.getpid()}")
    for host in lab.hosts:
        (fresh / host).mkdir(parents=True)
        _copy_disks(lab, host, lab.host_folder(host), fresh / host)
    (fresh / "complete").touch()
    if kept.exists():
        shutil.rmtree(fresh)
    else:
        fresh.rename(kept)
    _forget_old(kept.parent)
    snapshots.resume(lab, _BOOTED)


def _copy_disks(lab: Lab, host: str, source: Path, target: Path) -> None:
    for file in qemu.image_files(lab.disks(host)):
        images.copy(source / file, target / file)


def _forget_old(folder: Path) -> None:
    """Kept states of shapes that were not asked for lately go: each takes half a gigabyte a host."""
    kept = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in kept[:-_KEPT_BOOTED]:
        shutil.rmtree(path, ignore_errors=True)


def booted_key(lab: Lab) -> str:
    """What a saved state depends on beside the image: the shape of the hosts and the QEMU that saved it."""
    version = run(["qemu-system-x86_64", "--version"], timeout=30).splitlines()[0]
    command = (Path(__file__).parent / "qemu.py").read_text(encoding="utf-8")
    # Below the devices: a state fits whether writes are logged or not.
    spec = dataclasses.replace(lab.spec, log_writes=False)
    parts = [json.dumps(spec.as_dict(), sort_keys=True), lab.accel, version, command]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def names() -> list[str]:
    """The labs of this checkout that have a run folder."""
    return sorted(path.name for path in labs_root().iterdir() if path.is_dir()) if labs_root().is_dir() else []


def down(name: str) -> None:
    """End the processes of a lab and remove its run folder. Nothing else is touched."""
    folder = run_folder(name)
    if not folder.exists():
        say(f"lab {name} does not exist")
        return
    ended = [path.parent.name for path in sorted(folder.glob("*/pid")) if process.kill(path)]
    if process.kill(folder / "hub.pid"):
        ended.append("hub")
    shutil.rmtree(folder)
    say(f"lab {name} is down" + (f" ({', '.join(ended)} ended)" if ended else ""))


def status(lab: Lab) -> dict[str, Any]:
    """The state of a lab as plain data."""
    hosts = [_host_status(lab, host) for host in lab.hosts]
    return {
        "name": lab.name,
        "folder": str(lab.folder),
        "spec": lab.spec.as_dict(),
        "accel": lab.accel,
        "image_in_cache": store_of(lab.spec.release).folder.name == lab.image,
        "hosts": hosts,
        "snapshots": sorted(lab.snapshots()),
    }


def _host_status(lab: Lab, host: str) -> dict[str, Any]:
    pid = process.pid_of(lab, host)
    return {
        "name": host,
        "state": "running" if pid is not None else "off",
        "pid": pid,
        "ssh_port": lab.ssh_ports[host],
        "ssh": pid is not None and ssh.has_banner(lab.ssh_ports[host]),
        "memory_mib": _resident_mib(pid) if pid is not None else 0,
        "disks": [dataclasses.asdict(disk) for disk in lab.disks(host)],
    }


def _resident_mib(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


def status_text(record: dict[str, Any]) -> str:
    spec = record["spec"]
    shape = f"{spec['data_nics']} data NICs, {spec['data_disks']} x {spec['disk_gib']} GiB"
    lines = [f"lab {record['name']}: {spec['hosts']} {spec['kind']} hosts, {spec['release']}, {record['accel']}, {shape}"]
    for host in record["hosts"]:
        state = host["state"] + (", SSH answers" if host["ssh"] else "")
        process_text = f", pid {host['pid']}, {host['memory_mib']} MiB" if host["pid"] else ""
        serials = " ".join(disk["serial"] for disk in host["disks"]) or "none"
        lines.append(f"  {host['name']}: {state}, port {host['ssh_port']}{process_text}, disks {serials}")
    lines.append(f"  snapshots: {', '.join(record['snapshots']) or 'none'}")
    return "\n".join(lines)
