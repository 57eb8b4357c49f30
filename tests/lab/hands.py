# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hands for tests on the hosts of a lab: commands there, playbooks that run to their end or are cut off, a durable writer.

Every wait has a bound, and a wait that ends without what was waited for says what was there instead.
"""
from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lab import faults, snapshots
from lab.state import locked, need_lab

ROOT = Path(__file__).resolve().parents[2]
# How often tests repeat what they do, each time at another point.
ROUNDS = int(os.environ.get("XENFOLD_SOAK", "1"))
FILES = ROOT / "tests" / "lab" / "files"
WRITER, WRITTEN = "/run/faults-writer.py", "/run/faults-written"
# A module of Ansible on a host, with all that it has started: sshd gives every command a session of its own. Services, such as the one
# that keeps limits, are no modules.
MODULES = "ps -eo sid=,comm=,unit= | awk '$2 ~ /^python3/ && $3 ~ /^(ssh|session-)/ {print $1}' | sort -u"


@dataclasses.dataclass(frozen=True)
class Point:
    """A run that is cut off, and where.

    playbook, words, settings: the run, with `limit` on `host` alone, with changed settings; prepare: a line of shell before it;
    marker: a shell condition on the host; delay_seconds: from there to the cut; holds: shell conditions after the next runs.
    """

    role: str
    host: str
    playbook: str
    settings: Mapping[str, Any]
    marker: str
    holds: tuple[str, ...]
    words: tuple[str, ...] = ()
    prepare: str = "true"
    delay_seconds: float = 0.0
    limit: bool = True


@dataclasses.dataclass(frozen=True)
class Run:
    """A playbook that has ended: its return code, what it printed, and `changed` of every host in the recap."""

    rc: int
    text: str
    changed: Mapping[str, int]


class Hands:
    """The hosts of the lab `name`, known to Ansible by `inventory`. work: a block device of theirs that the writer may have."""

    def __init__(self, name: str, inventory: Path, work: str) -> None:
        self.name, self.inventory, self.work = name, inventory, work
        self.folder = ROOT / "build" / name
        self.lab = need_lab(name)
        self._runs = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        key = hashlib.sha1(str(self.lab.folder.resolve()).encode()).hexdigest()[:8]
        # Ansible's connections to this lab (inventories/lab/group_vars/xen_hosts/connection.yml), and ours.
        self._sockets = [Path(f"~/.ansible/cp/{key}").expanduser(), Path(f"~/.ansible/cp/{key}t").expanduser()]
        self._sockets[1].mkdir(parents=True, exist_ok=True, mode=0o700)

    # Commands on the hosts

    def ask(self, host: str, script: str, timeout: float = 120, data: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a line of shell as root; any return code is an answer."""
        words = ["ssh", "-F", str(self.lab.ssh_config), "-o", "ControlMaster=auto", "-o", "ControlPersist=120",
                 "-o", f"ControlPath={self._sockets[1]}/%n", host, f"sh -c {shlex.quote(script)}"]
        feed: dict[str, Any] = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
        # The connection in the background keeps stderr open, so it must not be a pipe that is read to its end.
        return subprocess.run(words, **feed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=timeout)

    def run(self, host: str, script: str, timeout: float = 120, data: str | None = None) -> str:
        """Run a line of shell that must succeed, and return what it prints."""
        done = self.ask(host, f"{{ {script}\n}} 2>&1", timeout, data)
        assert done.returncode == 0, f"{host}: {script}: ended with {done.returncode}: {done.stdout.strip()}"
        return done.stdout.strip()

    def python(self, host: str, file: str, *words: str, timeout: float = 300) -> str:
        """Run one of `files/` on a host."""
        return self.run(host, f"python3 - {shlex.join(words)}", timeout, (FILES / file).read_text(encoding="utf-8"))

    def wait(self, host: str, condition: str, seconds: float, show: str = "cat /proc/mdstat") -> None:
        """Wait until a shell condition holds. show: what to print when it does not within `seconds`."""
        end = time.monotonic() + seconds
        while self.ask(host, condition).returncode != 0:
            assert time.monotonic() < end, f"{host}: not within {seconds:.0f} s: {condition}\n{self.ask(host, show + ' 2>&1').stdout}"
            time.sleep(1)

    def holds(self, host: str, *conditions: str) -> None:
        """Every shell condition must hold now; all that do not are named."""
        broken = [condition for condition in conditions if self.ask(host, condition).returncode != 0]
        assert not broken, f"{host}: does not hold: {broken}"

    def command(self, *words: str, timeout: float = 120) -> None:
        """A command of the lab, as a person gives it."""
        done = subprocess.run([sys.executable, "-m", "lab", "--name", self.name, *words], cwd=ROOT, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=timeout)
        assert done.returncode == 0, f"lab {' '.join(words)}: {done.returncode}: {done.stdout}"

    def back_to(self, snapshot: str) -> None:
        """Back to a saved state of the lab, whatever state the hosts are in."""
        self.drop_connections()
        with locked(self.name):
            snapshots.restore(self.lab, snapshot)

    def drop_connections(self) -> None:
        """End the SSH connections that Ansible and the tests keep open: they do not outlive a host, or a controller."""
        for socket in [path for folder in self._sockets if folder.is_dir() for path in folder.iterdir()]:
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "none"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10)
            # One that does not answer belongs to a host that is gone.
            socket.unlink(missing_ok=True)

    # A writer whose every block is durable before the next

    def start_writer(self, host: str) -> None:
        self.run(host, f"cat > {WRITER}", data=(FILES / "writer.py").read_text(encoding="utf-8"))
        self.run(host, f"rm -f {WRITTEN}; systemd-run -q --unit=faults-writer python3 {WRITER} write {self.work} {WRITTEN}")
        self.wait(host, f"test $(cat {WRITTEN} || echo 0) -ge 20", 60, "systemctl status --no-pager faults-writer")

    def written(self, host: str) -> int:
        """How many blocks are durable so far; the writer must be at work."""
        text = self.run(host, f"systemctl is-active faults-writer && cat {WRITTEN} || systemctl status --no-pager faults-writer")
        assert text.startswith("active\n"), text
        return int(text.split()[1])

    def goes_on(self, host: str) -> None:
        """Ten more blocks within a minute."""
        wanted = self.written(host) + 10
        self.wait(host, f"test $(cat {WRITTEN}) -ge {wanted}", 60, "cat /proc/mdstat; systemctl status --no-pager faults-writer")

    def stop_writer(self, host: str) -> int:
        self.written(host)
        self.run(host, "systemctl stop faults-writer")
        return int(self.run(host, f"cat {WRITTEN}"))

    # Playbooks

    def environment(self) -> dict[str, str]:
        """For a playbook as a person starts it: molecule's own settings of Ansible do not belong to it."""
        own = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        return own | {"XENFOLD_LAB_DIR": str(self.lab.folder), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1"}

    def _start(
        self, playbook: str, host: str, words: tuple[str, ...], settings: Mapping[str, Any], limit: bool = True,
    ) -> tuple[subprocess.Popen[bytes], Path]:
        self._runs += 1
        log = self.folder / f"run-{self._runs:03d}-{host}.log"
        given = log.with_suffix(".json")
        given.write_text(json.dumps(settings, indent=1), encoding="utf-8")
        program = str(Path(sys.executable).parent / "ansible-playbook")
        line = [program, "-i", str(self.inventory), playbook, *(("--limit", host) if limit else ()), *words, "-e", f"@{given}"]
        with log.open("wb") as stream:
            stream.write(f"$ {shlex.join(line)}\n".encode())
            stream.flush()
            process = subprocess.Popen(line, cwd=ROOT, env=self.environment(), stdin=subprocess.DEVNULL, stdout=stream,
                                       stderr=subprocess.STDOUT, start_new_session=True)
        return process, log

    def play(self, playbook: str, host: str, words: tuple[str, ...] = (), settings: Mapping[str, Any] | None = None,
             timeout: float = 600, limit: bool = True) -> Run:
        """Run a playbook to its end. limit: whether on `host` alone, by --limit; else the playbook chooses."""
        process, log = self._start(playbook, host, words, settings or {}, limit)
        return self._end(playbook, host, process, log, timeout)

    def _end(self, playbook: str, host: str, process: subprocess.Popen[bytes], log: Path, timeout: float) -> Run:
        try:
            rc = process.wait(timeout)
        except subprocess.TimeoutExpired:
            kill_tree(process)
            raise AssertionError(f"{playbook} did not end within {timeout:.0f} s:\n{last(log)}") from None
        text = log.read_text(encoding="utf-8", errors="replace")
        recap = re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", text, re.MULTILINE)
        print(f"{log.name}: {playbook} on {host}: {rc}, changed {recap}")
        return Run(rc, text, {name: int(changed) for name, changed in recap})

    def meanwhile(self, point: Point, act: Callable[[], object], timeout: float = 900) -> Run:
        """Start the run, do something at the point, and let the run go on to its end."""
        with self._under_way(point) as (process, log):
            self._seen(point, process, log, "true")
            act()
            return self._end(point.playbook, point.host, process, log, timeout)

    def finish(self, point: Point, again: bool = True) -> None:
        """The run that was cut off once more, which ends well; with `again` another one, which finds nothing to do."""
        found = self.play(point.playbook, point.host, point.words, point.settings)
        assert found.rc == 0, f"the run after the cut failed:\n{found.text[-6000:]}"
        if again:
            found = self.play(point.playbook, point.host, point.words, point.settings)
            assert (found.rc, found.changed) == (0, {point.host: 0}), f"the second run after the cut:\n{found.text[-6000:]}"

    @contextlib.contextmanager
    def _under_way(self, point: Point) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        self.run(point.host, point.prepare)
        process, log = self._start(point.playbook, point.host, point.words, point.settings, point.limit)
        try:
            yield process, log
        finally:
            kill_tree(process)
            print(f"{log.name}: {point.playbook} on {point.host} was cut off; its last lines:\n{last(log, 8)}")

    def _watch(self, point: Point, then: str) -> str:
        """Shell that waits for the marker, at most two minutes, and then does `then`."""
        return (f"n=0; until {{ {point.marker}; }} > /dev/null 2>&1; do n=$((n + 1)); test $n -lt 1200 || exit 9; sleep 0.05; done;"
                f" sleep {point.delay_seconds:.2f}; {then}")

    def _seen(self, point: Point, process: subprocess.Popen[bytes], log: Path, then: str) -> None:
        """Return when the marker was seen; an error when the run ends before it."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=1) as pool:
            watch = pool.submit(self.ask, point.host, self._watch(point, then), 300)
            ended = None
            while not watch.done():
                if process.poll() is not None:
                    ended = ended or time.monotonic()
                    # The shell on the host may be a moment behind. It ends by itself, so the pool ends too.
                    assert time.monotonic() < ended + 10 + point.delay_seconds, (
                        f"{point.role}: the run ended ({process.returncode}) and `{point.marker}` was not seen:\n{last(log)}")
                time.sleep(0.02)
            assert watch.result().returncode == 0, f"{point.role}: `{point.marker}` was not seen within two minutes:\n{last(log)}"

    def kill_controller(self, point: Point, with_module: bool = True) -> None:
        """Start the run and end it at the point by SIGKILL: the controller with all its processes, and with `with_module` what
        it had begun on the host. Else that goes on there by itself (without_controllers)."""
        then = f"for s in $({MODULES}); do pkill -KILL -s $s; done; true" if with_module else "true"
        with self._under_way(point) as (process, log):
            self._seen(point, process, log, then)

    def without_controllers(self, *hosts: str) -> None:
        """The connections of controllers that were killed end as well, and what they had begun on hosts comes to its end."""
        self.drop_connections()
        for host in hosts:
            self.wait(host, f"test -z \"$({MODULES})\"", 240, "ps -ef --forest")

    def cut_power(self, point: Point) -> None:
        """Start the run and pull the host's plug at the point."""
        with self._under_way(point) as (process, log):
            self._seen(point, process, log, "true")
            faults.power_off(self.lab, point.host)


def last(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def parents() -> dict[int, int]:
    """Process -> its parent, for all processes of this machine."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found[int(path.parent.name)] = int(path.read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[1])
    return found


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a process that was started here and all below it: Ansible's workers have sessions of their own."""
    if process.poll() is None:
        # Stopped, it starts no more of them while they are looked for.
        process.send_signal(signal.SIGSTOP)
        above = parents()
        tree = [process.pid]
        for pid in tree:
            tree += [child for child, parent in above.items() if parent == pid]
        for pid in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait(20)
