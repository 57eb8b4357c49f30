# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A guest that counts moves between the hosts by plans: no number is skipped or said twice, and no memory is lost on either host."""
from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator

import pytest
from moving import ADDRESS, GUEST, apply, begin, plan, wanted, where
from scene import HOSTS, Scene

from tests.lab.hands import ROUNDS

# Each takes four minutes in emulation.
MOVES = 100 if ROUNDS >= 10 else 5 if ROUNDS > 1 else 2
PINGS = "/run/moves-pings"
# What Xen may keep for itself beyond what it had: page tables of dom0, event channels.
LOST_MIB = 8


@dataclasses.dataclass(frozen=True)
class Moved:
    """A move: what the playbook says of its duration, the time without a reply to pings, and the wall clock of apply.yml, in seconds."""

    source: str
    target: str
    seconds: float
    silent_seconds: float
    apply_seconds: float


def clock(scene: Scene) -> float:
    return float(scene.run("xen01", "date +%s.%N"))


def silence(scene: Scene, begin: float, end: float) -> float:
    """The longest time without a reply of the guest to xen01, between two times of its clock."""
    text = scene.run("xen01", f"cat {PINGS}")
    replies = [float(found) for found in re.findall(r"^\[([0-9.]+)\] \d+ bytes from", text, re.MULTILINE)]
    there = [begin, *(reply for reply in replies if begin <= reply <= end), end]
    return max(after - before for before, after in itertools.pairwise(there))


def free_mib(scene: Scene) -> dict[str, int]:
    return {host: int(scene.run(host, "xl info | awk '/^free_memory/ {print $3}'")) for host in HOSTS}


@pytest.fixture(name="moving")
def _moving(fresh: Scene) -> Iterator[Scene]:
    """The pair with one more guest on xen01, which answers pings."""
    begin(fresh)
    fresh.run("xen01", f"systemd-run -q --unit=moves-pings -p StandardOutput=file:{PINGS} ping -D -n -i 0.5 {ADDRESS}")
    yield fresh
    fresh.run("xen01", "systemctl stop moves-pings")


def test_a_guest_moves_to_and_fro_and_misses_nothing(moving: Scene) -> None:
    before = free_mib(moving)
    here, there = HOSTS
    moves = []
    for number in range(MOVES):
        settings = wanted(moving, there, here)
        plan(moving, settings)
        if number == 0 and ROUNDS > 1:
            shown = apply(moving, settings, "--check", "--diff")
            assert shown.rc == 0 and f"{GUEST} from {here} to {there}" in shown.text, shown.text
            assert where(moving)[here] == [GUEST]
        begin = clock(moving)
        done = apply(moving, settings)
        end = clock(moving)
        assert done.rc == 0, done.text
        assert where(moving) == {here: [], there: [GUEST]}
        said = re.search(r"step 1 of 1: \S+ is on \S+, \d+ MiB from \S+ in ([0-9.]+) s", done.text)
        assert said, done.text
        moves.append(Moved(here, there, float(said[1]), silence(moving, begin, end), end - begin))
        moving.holds(there, f"test -L /etc/xen/auto/10-{GUEST}", f"test -e /etc/xen/guests/{GUEST}.cfg")
        moving.holds(here, f"! test -L /etc/xen/auto/10-{GUEST}", f"! test -e /etc/xen/guests/{GUEST}.cfg")
        if number == 0 and ROUNDS > 1:
            again = apply(moving, settings)
            assert (again.rc, set(again.changed.values())) == (0, {0}), again.text
        here, there = there, here
    numbers = moving.counted(GUEST)
    print(table(moves), f"numbers said: {numbers[0]} to {numbers[-1]}", sep="\n")
    assert len(numbers) > 4 * MOVES
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    # An even number of moves, or one more: the guest itself is on the other host then.
    after = free_mib(moving)
    lost = sum(before.values()) - sum(after.values())
    print(f"free memory in MiB before {before}, after {after}")
    assert lost <= LOST_MIB, (before, after)


def table(moves: list[Moved]) -> str:
    rows = [f"| {number} | {move.source} | {move.target} | {move.seconds:.1f} | {move.silent_seconds:.1f} | {move.apply_seconds:.0f} |"
            for number, move in enumerate(moves, 1)]
    head = ["", "| move | from | to | xl migrate s | without a reply s | apply.yml s |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])
