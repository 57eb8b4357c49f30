# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SSH to the hosts: configuration, known hosts, waiting until a host really answers."""

from __future__ import annotations

import concurrent.futures
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.console import say, tail
from lab.errors import LabError
from lab.state import Lab

# A login under emulation takes 2-3 s on an idle machine.
_LOGIN_SECONDS = 90
_BANNER_SECONDS = 3.0
_REPORT_EVERY = 10.0
# What a console shows when waiting on is of no use.
_DEAD_ENDS = ("Panic on CPU", "Kernel panic - not syncing", "lab: no root disk", "lab: root disk does not mount")


def config_text(lab: Lab, keys: Path) -> str:
    """The ssh_config of a lab. No ControlMaster: whoever uses the file decides on that."""
    blocks = []
    for host in lab.hosts:
        blocks.append(
            f"Host {host}\n"
            "  HostName 127.0.0.1\n"
            f"  Port {lab.ssh_ports[host]}\n"
            "  User root\n"
            f'  IdentityFile "{keys / "id_ed25519"}"\n'
            "  IdentitiesOnly yes\n"
            "  IdentityAgent none\n"
            f'  UserKnownHostsFile "{lab.folder / "known_hosts"}"\n'
            "  GlobalKnownHostsFile /dev/null\n"
            "  StrictHostKeyChecking yes\n"
            "  HostKeyAlgorithms ssh-ed25519\n"
            "  KexAlgorithms curve25519-sha256\n"
            "  PreferredAuthentications publickey\n"
            "  GSSAPIAuthentication no\n"
            "  ConnectTimeout 60\n"
            "  LogLevel ERROR\n"
        )
    return "\n".join(blocks)


def known_hosts_text(lab: Lab, host_key: str) -> str:
    kind, key = host_key.split()[:2]
    return "".join(f"[127.0.0.1]:{lab.ssh_ports[host]} {kind} {key}\n" for host in lab.hosts)


def write_files(lab: Lab, keys: Path) -> None:
    lab.ssh_config.write_text(config_text(lab, keys), encoding="utf-8")
    host_key = (keys / "host_ed25519.pub").read_text(encoding="ascii")
    (lab.folder / "known_hosts").write_text(known_hosts_text(lab, host_key), encoding="ascii")


def command(lab: Lab, host: str, words: Sequence[str]) -> list[str]:
    return ["ssh", "-F", str(lab.ssh_config), host, *words]


def call(lab: Lab, host: str, script: str, timeout: float = _LOGIN_SECONDS) -> str:
    """Run a line of shell on a host and return what it prints; an error names the host and what it said."""
    try:
        done = subprocess.run(
            command(lab, host, ["sh", "-c", shlex.quote(script)]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{host}: {script!r} did not end within {timeout:.0f} s over SSH") from None
    if done.returncode != 0:
        raise LabError(f"{host}: {script!r} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def call_all(lab: Lab, hosts: Sequence[str], script: str, timeout: float = _LOGIN_SECONDS) -> dict[str, str]:
    """The same line on several hosts side by side."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(hosts))) as pool:
        futures = {host: pool.submit(call, lab, host, script, timeout) for host in hosts}
        return {host: future.result() for host, future in futures.items()}


def has_banner(port: int, timeout: float = _BANNER_SECONDS) -> bool:
    """Whether an SSH server speaks there. The port alone says nothing: QEMU's user network accepts every connection."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
            connection.settimeout(timeout)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wait_ready(
    lab: Lab,
    hosts: Sequence[str],
    timeout: float,
    alive: Callable[[Lab, str], bool],
    script: str = "true",
) -> None:
    """Wait until each host greets and runs `script`; then return. Hosts are watched side by side.

    An error names the host, what was waited for, and shows the end of its console.
    """
    end = time.monotonic() + timeout
    phase = dict.fromkeys(hosts, "SSH greeting")
    # One host's failure or an interrupt ends the watch of the others: the program must not wait for their bounds.
    stop = threading.Event()

    def watch(host: str) -> None:
        while not stop.is_set() and not has_banner(lab.ssh_ports[host]):
            _give_up_if_dead(lab, host, alive)
            if time.monotonic() > end:
                raise LabError(failure(lab, host, f"no SSH greeting within {timeout:.0f} s"))
            stop.wait(0.3)
        phase[host] = "login"
        while not stop.is_set():
            try:
                call(lab, host, script)
                break
            except LabError as error:
                _give_up_if_dead(lab, host, alive)
                if time.monotonic() > end:
                    raise LabError(failure(lab, host, f"no login within {timeout:.0f} s ({error})")) from None
                stop.wait(1)
        phase[host] = ""

    pool = concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(hosts)))
    waiting = {pool.submit(watch, host) for host in hosts}
    try:
        while waiting:
            done, waiting = concurrent.futures.wait(
                waiting, timeout=_REPORT_EVERY, return_when=concurrent.futures.FIRST_EXCEPTION
            )
            for future in done:
                future.result()
            if waiting:
                say("; ".join(_progress(lab, host, phase[host]) for host in hosts if phase[host]))
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _progress(lab: Lab, host: str, phase: str) -> str:
    last = tail(lab.serial_log(host), 1).strip()
    return f"{host}: waiting for {phase}" + (f" (console: {last[:70]})" if last else "")


def _give_up_if_dead(lab: Lab, host: str, alive: Callable[[Lab, str], bool]) -> None:
    if not alive(lab, host):
        raise LabError(failure(lab, host, "its QEMU process has ended"))
    console = tail(lab.serial_log(host), 40)
    for sign in _DEAD_ENDS:
        if sign in console:
            raise LabError(failure(lab, host, f"it stopped: {sign}"))


def failure(lab: Lab, host: str, reason: str) -> str:
    console = tail(lab.serial_log(host), 30)
    return f"{host}: {reason}. The end of its console ({lab.serial_log(host)}):\n{console}"
