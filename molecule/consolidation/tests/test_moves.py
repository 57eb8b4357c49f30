# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guests that count move between the hosts by plans: no number is skipped or said twice, and no memory is lost on either host."""
from __future__ import annotations

import dataclasses
import itertools
import re

import pytest
from moving import ADDRESSES, GUEST, apply, begin, placed, plan
from scene import HOSTS, Scene

from tests.lab.emulation import EmulationFault
from tests.lab.hands import ROUNDS

MOVES = 10 * ROUNDS if ROUNDS >= 5 else 5
# One plan moves all of them: what it costs beside its moves is the same for any number, and the longer a plan and the more guests it has,
# the likelier the emulation loses one in it (of eight in every second or third plan).
GUESTS = list(ADDRESSES)[:4 if ROUNDS >= 5 else 3]
# How many moves each plan makes. A plan is a test: a fault of the emulation costs that one, and not all before it.
PLANS = [min(len(GUESTS), MOVES - begun) for begun in range(0, MOVES, len(GUESTS))]
# Half a second apart, from xen01.
PINGS = "/run/moves-pings-{}"
# What Xen may keep for itself beyond what it had: page tables of dom0, event channels.
LOST_MIB = 8
HERE, THERE = HOSTS
HEAD = """
| move | guest | from | to | xl migrate s | without a reply s | apply.yml, all its moves, s |
| --- | --- | --- | --- | --- | --- | --- |"""


def clock(scene: Scene) -> float:
    return float(scene.run(HERE, "date +%s.%N"))


def silence(scene: Scene, guest: str, begun: float, ended: float) -> float:
    """The longest time without a reply of the guest to xen01, between two times of its clock, in seconds."""
    text = scene.run(HERE, f"cat {PINGS.format(guest)}")
    replies = [float(found) for found in re.findall(r"^\[([0-9.]+)\] \d+ bytes from", text, re.MULTILINE)]
    there = [begun, *(reply for reply in replies if begun <= reply <= ended), ended]
    return max(after - before for before, after in itertools.pairwise(there))


def free_mib(scene: Scene) -> dict[str, int]:
    return {host: int(scene.run(host, "xl info | awk '/^free_memory/ {print $3}'")) for host in HOSTS}


@dataclasses.dataclass
class Course:
    """The guests on their way: where they are since the last plan, the memory that was free when they began, the rows of all plans."""

    homes: dict[str, str] = dataclasses.field(default_factory=dict)
    free: dict[str, int] = dataclasses.field(default_factory=dict)
    rows: list[str] = dataclasses.field(default_factory=list)


@pytest.fixture(name="course", scope="module")
def _course() -> Course:
    return Course()


@pytest.fixture(name="moving")
def _moving(converged: Scene, course: Course) -> Scene:
    """The pair with more guests, which answer pings: where the plan before has left them, or begun anew on xen01."""
    if converged.spoiled or not course.homes:
        converged.restore()
        if len(GUESTS) > 3:
            # A host of the lab has no room for more beside those of the plan.
            converged.clear()
        begin(converged, guests=GUESTS)
        for guest in GUESTS:
            unit = f"--unit=moves-pings-{guest} -p StandardOutput=file:{PINGS.format(guest)}"
            converged.run(HERE, f"systemd-run -q {unit} ping -D -n -i 0.5 {ADDRESSES[guest]}")
        course.homes, course.free = dict.fromkeys(GUESTS, HERE), free_mib(converged)
    return converged


# The emulation loses a guest here more often than in other tests.
@pytest.mark.flaky(reruns=3 if ROUNDS >= 5 else 1, only_rerun=[EmulationFault.__name__])
@pytest.mark.parametrize(("number", "moves"), enumerate(PLANS), ids=[f"plan{number}" for number in range(1, len(PLANS) + 1)])
def test_guests_move_to_and_fro_and_miss_nothing(moving: Scene, course: Course, number: int, moves: int) -> None:
    here = course.homes[GUEST]
    there = THERE if here == HERE else HERE
    leaving = GUESTS[:moves]
    after = {**course.homes, **dict.fromkeys(leaving, there)}
    settings = placed(moving, after, course.homes)
    plan(moving, settings)
    if number == 0 and ROUNDS > 1:
        shown = apply(moving, settings, "--check", "--diff")
        assert shown.rc == 0 and all(f"{guest} from {here} to {there}" in shown.text for guest in leaving), shown.text
        assert moving.places() == {**moving.guests, **course.homes}
    begun = clock(moving)
    done = apply(moving, settings)
    ended = clock(moving)
    assert done.rc == 0, done.text
    assert moving.places() == {**moving.guests, **after}
    said = dict(re.findall(r"step \d+ of \d+: (\S+) is on \S+, \d+ MiB from \S+ in ([0-9.]+) s", done.text))
    assert set(said) == set(leaving), done.text
    rows = []
    for guest in leaving:
        rows.append(f"| {len(course.rows) + len(rows) + 1} | {guest} | {here} | {there} | {float(said[guest]):.1f}"
                    f" | {silence(moving, guest, begun, ended):.1f} | {ended - begun:.0f} |")
        moving.holds(there, f"test -L /etc/xen/auto/10-{guest}", f"test -e /etc/xen/guests/{guest}.cfg")
        moving.holds(here, f"! test -L /etc/xen/auto/10-{guest}", f"! test -e /etc/xen/guests/{guest}.cfg")
        moving.counts_on(there, guest, moving.counted(guest)[-1])
    if number == 0 and ROUNDS > 1:
        again = apply(moving, settings)
        assert (again.rc, set(again.changed.values())) == (0, {0}), again.text
    for guest in GUESTS:
        numbers = moving.counted(guest)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), guest
        print(f"{guest} said {numbers[0]} to {numbers[-1]}")
    left = free_mib(moving)
    lost = sum(course.free.values()) - sum(left.values())
    print(f"free memory in MiB at the begin {course.free}, now {left}")
    assert lost <= LOST_MIB, (course.free, left)
    course.homes = after
    course.rows += rows
    print(HEAD, *(course.rows if number == len(PLANS) - 1 else rows), sep="\n", flush=True)
