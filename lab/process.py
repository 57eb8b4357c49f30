# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The QEMU process of a host: start, find, end. Only processes that carry this lab's pid file in their command line."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import images, qemu
from lab.errors import LabError
from lab.paths import CHECKOUT
from lab.qemu import Machine
from lab.qmp import Qmp
from lab.state import Lab

_START_SECONDS = 180
_END_SECONDS = 20


def pidfile(lab: Lab, host: str) -> Path:
    return lab.host_folder(host) / "pid"


def pid_of(lab: Lab, host: str) -> int | None:
    return running_pid(pidfile(lab, host))


def running_pid(path: Path) -> int | None:
    """The pid in a pid file, if that process runs and names the file in its command line (pids are used again)."""
    try:
        pid = int(path.read_text(encoding="ascii").strip())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
    if stat.rsplit(")", 1)[-1].split()[0] == "Z" or str(path).encode() not in words:
        return None
    return pid


def alive(lab: Lab, host: str) -> bool:
    return pid_of(lab, host) is not None


def start(lab: Lab, machine: Machine, loadvm: str | None = None) -> None:
    """Start a host and return when QEMU has its devices ready; with `loadvm` the host is loaded and paused."""
    host = machine.name
    folder = lab.host_folder(host)
    words = qemu.command(machine, pidfile(lab, host), loadvm)
    if machine.spec.log_writes:
        images.begin_logs(folder, qemu.image_files(machine.disks))
    # A panic of the boot before this one must not be taken for one of this boot.
    console = lab.serial_log(host)
    if console.exists():
        console.rename(console.with_name("serial.before.log"))
    log = folder / "qemu.log"
    with log.open("ab") as stream:
        try:
            done = subprocess.run(
                words, cwd=folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, timeout=_START_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"{host}: QEMU did not start within {_START_SECONDS} s; see {log}") from None
    if done.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line for line in lines if "warning: TCG doesn't support" not in line][-5:]
        raise LabError(f"{host}: QEMU did not start ({done.returncode}): {' / '.join(said)}")


def monitor(lab: Lab, host: str) -> Qmp:
    if not alive(lab, host):
        raise LabError(f"{host}: not running; run: python3 -m lab --name {lab.name} power-on {host}")
    return Qmp(lab.host_folder(host) / "qmp")


def kill(path: Path) -> bool:
    """End the process of a pid file at once and wait until it is gone. Whether there was one."""
    with _held(path) as process:
        if process is None:
            path.unlink(missing_ok=True)
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
        if not _has_ended(process):
            raise LabError(f"process of {path} does not end")
    path.unlink(missing_ok=True)
    return True


@contextmanager
def _held(path: Path) -> Iterator[int | None]:
    """A descriptor of the process of a pid file, None without one."""
    pid = running_pid(path)
    try:
        process = None if pid is None else os.pidfd_open(pid)
    except ProcessLookupError:
        process = None
    try:
        yield process
    finally:
        if process is not None:
            os.close(process)


def _has_ended(process: int) -> bool:
    """Wait until the last thread has ended: until then a process that has lost its memory, and with it its command line, may still hold
    the locks of its disk images."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(_END_SECONDS * 1000))


def kill_host(lab: Lab, host: str) -> bool:
    return kill(pidfile(lab, host))


def freeze(lab: Lab, host: str) -> bool:
    """Stop a host's process with all its threads, none of them in the middle of a write. Whether there is one."""
    pid = pid_of(lab, host)
    if pid is None:
        return False
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + _END_SECONDS
    while not all(_state(path) == "T" for path in Path(f"/proc/{pid}/task").glob("*/stat")):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGCONT)
            raise LabError(f"{host}: QEMU does not stop")
        time.sleep(0.01)
    return True


def thaw(lab: Lab, host: str) -> None:
    pid = pid_of(lab, host)
    if pid is not None:
        os.kill(pid, signal.SIGCONT)


def _state(path: Path) -> str:
    """The state of a process or thread in its `stat`: one letter; T when it is stopped, and for a thread that is gone."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[-1].split()[0]
    except OSError:
        return "T"


def quit_host(lab: Lab, host: str) -> None:
    """End QEMU in order, with its disk images closed."""
    with _held(pidfile(lab, host)) as process:
        with monitor(lab, host) as qmp:
            qmp.execute("quit")
        if process is not None and not _has_ended(process):
            raise LabError(f"{host}: QEMU does not end")
    pidfile(lab, host).unlink(missing_ok=True)


def hub_pidfile(lab: Lab) -> Path:
    return lab.folder / "hub.pid"


def start_hub(lab: Lab) -> None:
    """The process that joins three and more hosts; see lab/hub.py."""
    path = hub_pidfile(lab)
    if not lab.has_hub() or running_pid(path) is not None:
        return
    with (lab.folder / "hub.log").open("ab") as log:
        # Its parent goes away, so that it is not left as a zombie when it ends.
        words = [sys.executable, "-m", "lab.hub", str(path), str(lab.folder / "spec.json")]
        subprocess.run(words, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=30, check=True)
