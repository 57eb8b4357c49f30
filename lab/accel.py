# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether this machine has KVM that can carry Xen: found by booting something, because the device alone says little."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from lab.console import say

# A boot sector: write 0x10 to the exit device of QEMU (which then ends with 0x10 << 1 | 1), then halt.
_PROGRAM = bytes([0xB0, 0x10, 0xE6, 0xF4, 0xFA, 0xF4])
_EXIT = 0x10 << 1 | 1
_LIMIT_SECONDS = 15


def boot_disk() -> bytes:
    """1 MiB whose first sector is the program; firmware takes smaller disks for broken ones."""
    return (_PROGRAM.ljust(510, b"\0") + b"\x55\xaa").ljust(2**20, b"\0")


def nested_allowed(modules: Path = Path("/sys/module")) -> bool:
    """Xen inside needs the virtualization instructions for itself, which KVM passes on only when `nested` is on."""
    for module in ("kvm_intel", "kvm_amd"):
        try:
            value = (modules / module / "parameters" / "nested").read_text(encoding="ascii").strip()
        except OSError:
            continue
        if value in ("Y", "1"):
            return True
    return False


def kvm_boots() -> bool:
    with tempfile.TemporaryDirectory(prefix="xenfold-lab-") as folder:
        image = Path(folder) / "probe.img"
        image.write_bytes(boot_disk())
        words = ["qemu-system-x86_64", "-M", "q35", "-accel", "kvm", "-cpu", "host", "-m", "64", "-display", "none"]
        words += ["-vga", "none", "-nodefaults", "-drive", f"file={image},format=raw"]
        words += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == _EXIT


def accelerator(cache: Path) -> str:
    """`kvm` or `tcg`. The answer is kept in the cache, for this boot of this machine."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot_id = "unknown"
    kept = cache / "accel.json"
    try:
        record = json.loads(kept.read_text(encoding="utf-8"))
        if record.get("boot_id") == boot_id and record.get("accel") in ("kvm", "tcg"):
            return str(record["accel"])
    except (OSError, ValueError):
        pass
    accel = "kvm" if Path("/dev/kvm").exists() and nested_allowed() and kvm_boots() else "tcg"
    say(f"acceleration: {accel}" + ("" if accel == "kvm" else " (software emulation: no KVM that can carry Xen)"))
    cache.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"accel": accel, "boot_id": boot_id}) + "\n", encoding="utf-8")
    return accel
