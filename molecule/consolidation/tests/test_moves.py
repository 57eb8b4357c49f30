# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guests that count move between the hosts by plans: no number is skipped or said twice, and no memory is lost on either host."""
from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from moving import ADDRESSES, GUEST, apply, begin, placed, plan
from scene import HOSTS, Scene

from tests.lab.hands import ROUNDS

MOVES = 10 * ROUNDS if ROUNDS >= 5 else 5
# One plan moves all of them; what it costs beside its moves is the same for any number.
GUESTS = list(ADDRESSES)[:8 if ROUNDS >= 5 else 3]
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


@pytest.fixture(name="moving")
def _moving(fresh: Scene) -> Iterator[Scene]:
    """The pair with more guests on xen01, which answer pings."""
    if len(GUESTS) > 3:
        # A host of the lab has no room for more beside those of the plan.
        fresh.clear()
    begin(fresh, guests=GUESTS)
    for guest in GUESTS:
        unit = f"--unit=moves-pings-{guest} -p StandardOutput=file:{PINGS.format(guest)}"
        fresh.run(HERE, f"systemd-run -q {unit} ping -D -n -i 0.5 {ADDRESSES[guest]}")
    yield fresh
    fresh.run(HERE, "systemctl stop 'moves-pings-*'")


def test_guests_move_to_and_fro_and_miss_nothing(moving: Scene) -> None:
    before = free_mib(moving)
    homes = dict.fromkeys(GUESTS, HERE)
    moved = 0
    print(HEAD)
    while moved < MOVES:
        here = homes[GUEST]
        there = THERE if here == HERE else HERE
        # All but those of the last plan move together, so they are all on one host.
        leaving = GUESTS[:MOVES - moved]
        after = {**homes, **dict.fromkeys(leaving, there)}
        settings = placed(moving, after, homes)
        plan(moving, settings)
        if moved == 0 and ROUNDS > 1:
            shown = apply(moving, settings, "--check", "--diff")
            assert shown.rc == 0 and all(f"{guest} from {here} to {there}" in shown.text for guest in leaving), shown.text
            assert moving.places() == {**moving.guests, **homes}
        begun = clock(moving)
        done = apply(moving, settings)
        ended = clock(moving)
        assert done.rc == 0, done.text
        assert moving.places() == {**moving.guests, **after}
        said = dict(re.findall(r"step \d+ of \d+: (\S+) is on \S+, \d+ MiB from \S+ in ([0-9.]+) s", done.text))
        assert set(said) == set(leaving), done.text
        for guest in leaving:
            moved += 1
            print(f"| {moved} | {guest} | {here} | {there} | {float(said[guest]):.1f} | {silence(moving, guest, begun, ended):.1f}"
                  f" | {ended - begun:.0f} |", flush=True)
            moving.holds(there, f"test -L /etc/xen/auto/10-{guest}", f"test -e /etc/xen/guests/{guest}.cfg")
            moving.holds(here, f"! test -L /etc/xen/auto/10-{guest}", f"! test -e /etc/xen/guests/{guest}.cfg")
            moving.counts_on(there, guest, moving.counted(guest)[-1])
        if moved == len(leaving) and ROUNDS > 1:
            again = apply(moving, settings)
            assert (again.rc, set(again.changed.values())) == (0, {0}), again.text
        homes = after
    for guest in GUESTS:
        numbers = moving.counted(guest)
        print(f"{guest} said {numbers[0]} to {numbers[-1]}")
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), guest
    left = free_mib(moving)
    lost = sum(before.values()) - sum(left.values())
    print(f"free memory in MiB before {before}, after {left}")
    assert lost <= LOST_MIB, (before, left)
