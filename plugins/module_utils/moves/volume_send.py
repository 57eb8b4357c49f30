#!/usr/bin/python3
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Moves one guest with its disks while it is down: python3 volume_send.py /var/lib/xenfold/moves/GUEST.json.

Carried to the hosts as it stands, with the standard library alone, and run as a unit of its own. The order: copy the disks while the guest
runs; shut it down; copy what differs; compare all of it, as it lies on the disks of both hosts; let the target mark its volumes as
complete; rename the own ones. The first rename is the hand-over: until it the guest may start here alone, after it there alone. Whatever
fails before it starts the guest here again.
"""
from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

try:
    from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import volume_receive as wire
except ImportError:  # On a host it lies beside this file.
    import volume_receive as wire  # type: ignore[no-redef]

MOVED_SUFFIX, MOVED_TAG = ".moved", "xenfold.moved"
HANDED_OVER, STAYS, IS_DOWN, NOT_FINISHED, NOBODY_WAITS = 0, 1, 2, 3, 4
"""Codes: it is for the target to start it; it runs here (still, or again); it is down, and its volumes are here; handed over, and some
renames are left for the next run; nobody waited for it, so it was not shut down."""
COPYING, DOWN, GIVEN, BACK, STAYED = "copying", "down", "given", "back", "stayed"
"""Stages, each written down before it begins."""
CREATING = "/run/xenfold/creating"
SCOPE = ("systemd-run", "--quiet", "--scope", "--collect")
ANSWER_SECONDS = 600
"""For how long a receiver may do nothing. A guest would be down for as long as a disk over there hangs."""
_TIME_IS_UP, _POWEROFF, _REBOOT = 124, 0, 1
_GONE_SECONDS = 60
_STATE_COLUMN, _UUID_COLUMN = 4, 6


class Failure(Exception):
    """What ends the move, in words."""


class Late(Exception):
    """The alarm clock."""


class Channel:
    """The receiver at the other end of an SSH call."""

    def __init__(self, command: Sequence[str], log: IO[bytes]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests, self.answers = self.process.stdin, self.process.stdout
        self.volumes: list[dict[str, Any]] = json.loads(self.answer())

    @contextlib.contextmanager
    def in_time(self) -> Iterator[None]:
        """SSH notices a host that is gone, but not a receiver that hangs. What it has not taken by then would block the close as well."""
        signal.alarm(ANSWER_SECONDS)
        try:
            yield
        except Late:
            self.process.kill()
            raise Failure(f"the receiver did nothing for {ANSWER_SECONDS} s") from None
        finally:
            signal.alarm(0)

    def tell(self, verb: bytes, number: int = 0, offset: int = 0, length: int = 0, data: Any = b"") -> None:
        try:
            with self.in_time():
                self.requests.write(wire.REQUEST.pack(verb, number, offset, length))
                if len(data):
                    self.requests.write(data)
                self.requests.flush()
        except BrokenPipeError:
            self.answer()
            raise Failure("the receiver ended") from None

    def answer(self) -> bytes:
        with self.in_time():
            return self._answer()

    def _answer(self) -> bytes:
        head = self.answers.read(wire.ANSWER.size)
        if len(head) < wire.ANSWER.size:
            raise Failure(f"the receiver ended without an answer (code {self.process.wait()} of ssh)")
        kind, length = wire.ANSWER.unpack(head)
        data = self.answers.read(length)
        if kind != b"=" or len(data) < length:
            raise Failure(f"the receiver says: {data.decode(errors='replace') or 'nothing'}")
        return data

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.requests.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.answers.close()


def windows(size: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of as many blocks as one request may ask for."""
    span = wire.BLOCK * wire.MOST_BLOCKS
    return ((offset, min(span, size - offset)) for offset in range(0, size, span))


def writes_of(disk: wire.Disk) -> int:
    """A number that grows with every write to a volume, by whomever: the kernel's count of sectors; of a plain file, its time."""
    told = os.fstat(disk.descriptor)
    if not stat.S_ISBLK(told.st_mode):
        return told.st_mtime_ns
    counts = Path(f"/sys/dev/block/{os.major(told.st_rdev)}:{os.minor(told.st_rdev)}/stat").read_text(encoding="ascii").split()
    # Sectors written, and those discarded.
    return int(counts[6]) + sum(map(int, counts[13:14]))


class Mover:
    """One move. path: of its journal."""

    def __init__(self, path: str, log: IO[bytes]) -> None:
        self.path, self.log = path, log
        self.journal: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        self.guest: str = self.journal["guest"]
        self.volumes: list[dict[str, Any]] = self.journal["volumes"]
        self.progress: dict[str, Any] = {"pass": "first", "done_bytes": 0, "total_bytes": 0, "sent_bytes": 0}
        self.began, self.told = time.monotonic(), 0.0
        self.disks: list[wire.Disk] = []
        self.held: IO[bytes] | None = None

    # What others see

    def say(self, text: str) -> None:
        # A full disk must not keep the guest from being started again.
        with contextlib.suppress(OSError):
            self.log.write(f"{text}\n".encode())
            self.log.flush()

    def note(self, **keys: Any) -> None:
        """Write it down, on the disk, before it is done."""
        self.journal |= keys
        write(self.path, self.journal)

    def show(self, now: bool = False) -> None:
        if not now and time.monotonic() < self.told + 1:
            return
        self.told = time.monotonic()
        temporary = f"{self.journal['progress']}.new"
        with contextlib.suppress(OSError):
            Path(temporary).write_text(json.dumps(self.progress), encoding="utf-8")
            os.replace(temporary, self.journal["progress"])

    def somebody_waits(self) -> bool:
        """Whether a controller has given a sign of life: without one, nobody would start the guest on the other host."""
        try:
            age = time.time() - os.stat(self.journal["alive"]).st_mtime
        except FileNotFoundError:
            return False
        # One from the future is of a clock that was set back.
        return abs(age) < self.journal["alive_seconds"]

    # Copying

    def open(self) -> None:
        self.disks = [wire.Disk(f"{wire.DEVICES}/{volume['volume_group']}/{volume['name']}") for volume in self.volumes]
        for disk, volume in zip(self.disks, self.volumes, strict=True):
            if disk.size != volume["size_bytes"]:
                raise Failure(f"volume {volume['name']}: has {disk.size} bytes, wanted {volume['size_bytes']}; run this again")

    def shut(self) -> None:
        for disk in self.disks:
            disk.close()
        self.disks = []

    def connect(self) -> Channel:
        channel = Channel([*self.journal["command"], f"fill {self.guest}"], self.log)
        wanted = [(volume["volume_group"], volume["name"] + wire.SUFFIX, volume["size_bytes"]) for volume in self.volumes]
        there = [(volume["volume_group"], volume["name"], volume["size_bytes"]) for volume in channel.volumes]
        if sorted(wanted) != there:
            channel.close()
            raise Failure(f"the volumes that {self.journal['to']} fills are {there}, wanted {sorted(wanted)}")
        return channel

    def go_through(self, channel: Channel, name: str, limit: bool = False) -> list[bytes]:
        """One pass over all volumes, which sends the blocks that differ; the hash of each volume."""
        self.progress = {"pass": name, "done_bytes": 0, "sent_bytes": 0, "total_bytes": sum(disk.size for disk in self.disks)}
        self.began = time.monotonic()
        self.show(now=True)
        roots = []
        numbers = {(volume["volume_group"], volume["name"]): number for number, volume in enumerate(channel.volumes)}
        for disk, volume in zip(self.disks, self.volumes, strict=True):
            number = numbers[volume["volume_group"], volume["name"] + wire.SUFFIX]
            root = hashlib.blake2b(digest_size=wire.DIGEST_BYTES)
            # A volume that was just made holds nothing worth a look.
            fresh = name == "first" and volume["fresh"]
            ahead = list(windows(disk.size))
            for index, (start, span) in enumerate(ahead):
                # One request ahead, so that both hosts read at the same time.
                for offset, length in () if fresh else ahead[:2] if index == 0 else ahead[index + 1:index + 2]:
                    channel.tell(b"H", number, offset, length)
                there = b"" if fresh else channel.answer()
                for place, offset in enumerate(range(start, start + span, wire.BLOCK)):
                    length = min(wire.BLOCK, start + span - offset)
                    known = None if fresh else there[place * wire.DIGEST_BYTES:(place + 1) * wire.DIGEST_BYTES]
                    root.update(self.block(channel, disk, number, offset, length, known))
                    self.pace(limit)
            roots.append(root.digest())
        self.show(now=True)
        return roots

    def block(self, channel: Channel, disk: wire.Disk, number: int, offset: int, length: int, known: bytes | None) -> bytes:
        """Send one block unless the target has it; its hash. known: that of the target's, None when it has nothing yet."""
        data = disk.read(offset, length)
        found = wire.digest(data)
        self.progress["done_bytes"] += length
        if found != known:
            if found == _zeroes(length):
                channel.tell(b"Z", number, offset, length)
            else:
                channel.tell(b"W", number, offset, length, data)
                self.progress["sent_bytes"] += length
        self.show()
        return found

    def pace(self, limit: bool) -> None:
        rate = self.journal["mibps"] * 2**20 if limit else 0
        if rate:
            time.sleep(max(0.0, self.began + self.progress["done_bytes"] / rate - time.monotonic()))

    # The guest

    def domains(self) -> list[list[str]]:
        """The rows of `xl list -v` of the guest, by its UUID or its name."""
        listed = [line.split() for line in run(["xl", "list", "-v"]).splitlines()[1:]]
        return [row for row in listed if row and (row[0] == self.guest or row[_UUID_COLUMN:_UUID_COLUMN + 1] == [self.journal["uuid"]])]

    def stop(self) -> None:
        """Shut the guest down and wait until nobody has its volumes any more. Raises Failure; then it may still run."""
        rows = self.domains()
        if len(rows) != 1 or rows[0][0] != self.guest or rows[0][_UUID_COLUMN] != self.journal["uuid"]:
            raise Failure(f"xl list shows {rows or 'nothing'} for it, and not the one guest that was to move")
        domid, seconds = rows[0][1], self.journal["shutdown_seconds"]
        self.hold(runs=rows[0][_STATE_COLUMN][2] != "p")
        self.note(stage=DOWN, down_since=time.time())
        self.say(f"it is told to shut down (domain {domid})")
        command = ["timeout", str(seconds), "xl", "shutdown", "-w", "-F", domid]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        told = done.stdout + done.stderr
        reason = re.search(rf"\bDomain {domid} has been shut down, reason code ([0-9]+)", told)
        if done.returncode == _TIME_IS_UP:
            raise Failure(f"it did not shut down in {seconds} s and was left running; it may do so yet, and the next run starts it then")
        if done.returncode:
            raise Failure(f"it cannot be told to shut down: {told.strip() or f'return code {done.returncode}'}")
        if reason and int(reason[1]) == _REBOOT:
            # The xl that watches over it starts it anew, and has destroyed the old one before.
            wait(lambda: bool(self.domains()), _GONE_SECONDS)
        if not reason or int(reason[1]) != _POWEROFF:
            raise Failure(f"it ended with reason {reason[1] if reason else 'unknown'} of xl, and not because it was shut down")
        if not wait(lambda: not self.domains(), _GONE_SECONDS):
            raise Failure(f"{self.domains()} is there {_GONE_SECONDS} s after it has shut down")
        if not wait(lambda: not self.opened(), _GONE_SECONDS):
            raise Failure(f"somebody has its volumes open {_GONE_SECONDS} s after it has shut down: {', '.join(self.opened())}")

    def opened(self) -> list[str]:
        rows = wire.rows(run(["lvs", "--reportformat", "json", "-o", "vg_name,lv_name,lv_device_open"]))
        own = {(volume["volume_group"], volume["name"]) for volume in self.volumes}
        return [row["lv_name"] for row in rows if (row["vg_name"], row["lv_name"]) in own and row["lv_device_open"]]

    def hold(self, runs: bool) -> None:
        """Keep the module xl_guest from starting it: that takes this lock for every start. runs: whether it is created and goes on."""
        os.makedirs(CREATING, mode=0o700, exist_ok=True)
        begun = f"{CREATING}/{self.guest}"
        for may_be_old in (runs, False):
            self.held = open(begun, "ab")  # noqa: SIM115
            try:
                fcntl.flock(self.held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                self.held.close()
                self.held = None
            if not may_be_old:
                raise Failure("another run is just creating it")
            # Of a run that was cut off after it had created it: the xl that watches over a guest has its lock for as long as that runs.
            Path(begun).unlink(missing_ok=True)

    def let_go(self) -> None:
        if self.held:
            Path(f"{CREATING}/{self.guest}").unlink(missing_ok=True)
            self.held.close()
            self.held = None

    def start_again(self) -> int:
        """Start it here, where nothing has changed. STAYS when it runs then."""
        if self.domains():
            self.let_go()
            return STAYS
        with contextlib.suppress(OSError):
            # For the next run; the stage before says as much.
            self.note(stage=BACK)
        if self.held:
            self.held.close()
            self.held = None
        begun = f"{CREATING}/{self.guest}"
        # The xl that watches over it stays. In the unit of this move it would keep systemd from beginning the next one under that name.
        command = [*SCOPE, "flock", "-n", "-E", "75", begun, "xl", "create", self.journal["config"]]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 75:
            Path(begun).unlink(missing_ok=True)
        if done.returncode == 0 and wait(lambda: bool(self.domains()), _GONE_SECONDS):
            with contextlib.suppress(OSError):
                self.note(stage=STAYED)
            self.say("it was started here again")
            return STAYS
        self.say(f"it could not be started here again: xl create ended with {done.returncode}")
        return IS_DOWN

    # The hand-over

    def hand_over(self, writes: Sequence[int]) -> int:
        """Rename the volumes; the first rename is the hand-over. Raises Failure when it has not happened, or is taken back."""
        # A command of LVM that is killed in the middle may leave a volume suspended, and this takes a few seconds.
        told_to_end = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            return self.rename(writes)
        finally:
            signal.signal(signal.SIGTERM, told_to_end)

    def rename(self, writes: Sequence[int]) -> int:
        tag = f"{MOVED_TAG}={self.guest}:{self.journal['to']}:{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        if self.domains() or [writes_of(disk) for disk in self.disks] != list(writes):
            raise Failure("somebody started it here, or wrote to its volumes, while they were copied")
        rest = [(volume["volume_group"], volume["name"]) for volume in self.volumes]
        group, name = rest.pop(0)
        run(["lvchange", "--addtag", tag, f"{group}/{name}"])
        run(["lvrename", group, name, name + MOVED_SUFFIX])
        # Whoever began to start it before the rename is in the list by now; after it nobody finds its disk.
        if self.domains() or [writes_of(disk) for disk in self.disks] != list(writes):
            run(["lvrename", group, name + MOVED_SUFFIX, name])
            run(["lvchange", "--deltag", tag, f"{group}/{name}"])
            raise Failure("somebody started it here at the last moment")
        try:
            self.note(stage=GIVEN)
            for group, name in rest:
                run(["lvchange", "--addtag", tag, f"{group}/{name}"])
                run(["lvrename", group, name, name + MOVED_SUFFIX])
            for own in self.journal["forget"]:
                Path(own).unlink(missing_ok=True)
            self.let_go()
        except (wire.Refusal, OSError) as error:
            self.say(f"it is handed over, and the next run has to finish that here: {error}")
            return NOT_FINISHED
        self.say(f"it is handed over to {self.journal['to']}")
        return HANDED_OVER

    def go(self) -> int:
        """All of it. Raises Failure."""
        self.note(stage=COPYING)
        self.open()
        channel = self.connect()
        try:
            self.go_through(channel, "first", limit=True)
            channel.tell(b"S")
            channel.answer()
        finally:
            channel.close()
            self.shut()
        if not self.somebody_waits():
            self.say("its disks are copied, and no controller waits for it, so it was not shut down; run apply.yml again")
            return NOBODY_WAITS
        self.stop()
        self.open()
        channel = self.connect()
        try:
            writes = [writes_of(disk) for disk in self.disks]
            roots = self.go_through(channel, "second")
            self.note(sent_bytes=self.progress["sent_bytes"])
            channel.tell(b"S")
            channel.answer()
            self.compare(channel, roots)
            if not self.somebody_waits():
                raise Failure("no controller waits for it any more, who would start it on the other host")
            ordered = dict(zip([(volume["volume_group"], volume["name"] + wire.SUFFIX) for volume in self.volumes], roots, strict=True))
            data = b"".join(ordered[volume["volume_group"], volume["name"]] for volume in channel.volumes)
            channel.tell(b"C", length=len(data), data=data)
            channel.answer()
            return self.hand_over(writes)
        finally:
            channel.close()
            self.shut()

    def compare(self, channel: Channel, roots: Sequence[bytes]) -> None:
        """Whether the target, reading its disks anew, finds the hashes that the second pass had here."""
        sizes = [volume["size_bytes"] for volume in channel.volumes]
        self.progress = {"pass": "comparison", "done_bytes": 0, "sent_bytes": 0, "total_bytes": sum(sizes)}
        self.show(now=True)
        found: dict[tuple[str, str], bytes] = {}
        for number, volume in enumerate(channel.volumes):
            root = hashlib.blake2b(digest_size=wire.DIGEST_BYTES)
            for offset, length in windows(volume["size_bytes"]):
                channel.tell(b"H", number, offset, length)
                root.update(channel.answer())
                self.progress["done_bytes"] += length
                self.show()
            found[volume["volume_group"], volume["name"].removesuffix(wire.SUFFIX)] = root.digest()
        for volume, wanted in zip(self.volumes, roots, strict=True):
            if found[volume["volume_group"], volume["name"]] != wanted:
                raise Failure(f"volume {volume['name']} differs on {self.journal['to']} after it was copied and written to its disks")

    def move(self) -> int:
        """Go, and whatever fails, the guest runs here again unless it is handed over."""
        try:
            return self.go()
        except (Failure, wire.Refusal, OSError, ValueError) as error:
            self.say(str(error))
        if self.journal["stage"] != DOWN:
            return NOT_FINISHED if self.journal["stage"] == GIVEN else STAYS
        try:
            return self.start_again()
        except (Failure, wire.Refusal, OSError) as error:
            self.say(f"it could not be started here again: {error}")
            return IS_DOWN


@functools.cache
def _zeroes(length: int) -> bytes:
    """The hash of a block of zeroes."""
    return wire.digest(bytes(length))


def run(argv: Sequence[str]) -> str:
    return wire.run(argv)


def wait(done: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.5)
    return True


def write(path: str, journal: dict[str, Any]) -> None:
    """The old journal or the new one, never a part."""
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(journal, stream, indent=1, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _ended(_signal: int, _frame: Any) -> None:
    raise Failure("it was told to end (systemctl stop, or the host goes down)")


def _late(_signal: int, _frame: Any) -> None:
    raise Late


def main(path: str) -> int:
    signal.signal(signal.SIGTERM, _ended)
    signal.signal(signal.SIGALRM, _late)
    began = time.monotonic()
    with open(json.loads(Path(path).read_text(encoding="utf-8"))["log"], "ab") as log:
        mover = Mover(path, log)
        code = mover.move()
    mover.note(phase="ended", code=code, seconds=round(time.monotonic() - began, 1))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
