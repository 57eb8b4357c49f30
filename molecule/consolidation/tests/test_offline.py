# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A guest moves with its disks by consent, also when something goes wrong in the middle: its disk remembers every number."""
from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from moving import CONSOLE, apply, counts_since_start, lock_holder, placed, plan, point, refused
from scene import HOSTS, Scene

from lab import faults
from tests.lab.hands import ROUNDS, Point, Run

pytestmark = pytest.mark.skipif(ROUNDS < 2, reason="takes an hour: make lab-soak")

GUEST, DISK = "db01", "vg_guests/db01-data"
CONSENT = ("-e", f"moves_offline={GUEST}")
UNIT = f"systemctl is-active -q xenfold-move-{GUEST}.service"
JOURNAL = f"/var/lib/xenfold/moves/{GUEST}.json"
# On the source: while the guest is down and could start there yet; when it no longer can.
IS_DOWN = f"{UNIT} && grep -q '\"stage\": \"down\"' {JOURNAL} && ! xl list {GUEST} && lvs {DISK}"
IS_GIVEN = f"lvs {DISK}.moved"


@dataclasses.dataclass(frozen=True)
class Leaving:
    """The guest as it is to leave its host with its disk. settings: of a plan that does only that."""

    scene: Scene
    here: str
    there: str
    settings: dict[str, Any]

    def point(self, marker: str) -> Point:
        return point(self.scene, self.settings, self.here, marker, *CONSENT)

    def place(self) -> str | None:
        return self.scene.places().get(GUEST)

    def arrives(self, *words: str) -> Run:
        """A run moves it: it runs on the other host, goes on where it had come to, and has left its volume behind; another run changes
        nothing."""
        scene = self.scene
        done = apply(scene, self.settings, *CONSENT, *words)
        assert done.rc == 0, done.text
        assert self.place() == self.there
        scene.wait(self.there, f"grep -q 'count ' {CONSOLE.format(GUEST)}", 60)
        assert f"guest {GUEST} disk kept" in scene.run(self.there, f"cat {CONSOLE.format(GUEST)}")
        assert counts_since_start(scene, self.there, GUEST)[0] == counts_since_start(scene, self.here, GUEST)[-1] + 1
        scene.holds(self.there, f"test -e /etc/xen/guests/{GUEST}.cfg", f"test -L /etc/xen/auto/05-{GUEST}", f"lvs {DISK}",
                    "! lvs -o lv_name,lv_tags vg_guests | grep -Eq 'coming|complete'")
        scene.holds(self.here, f"! test -e /etc/xen/guests/{GUEST}.cfg", f"! test -L /etc/xen/auto/05-{GUEST}", f"lvs {DISK}.moved",
                    f"! lvs {DISK}")
        again = apply(scene, self.settings, *CONSENT)
        assert (again.rc, set(again.changed.values())) == (0, {0}), again.text
        return done


@pytest.fixture(name="leaving")
def _leaving(fresh: Scene) -> Leaving:
    here = fresh.guests[GUEST]
    there = next(host for host in HOSTS if host != here)
    settings = placed(fresh, {})
    settings["estate_rules"].append({"rule": "fence", "workloads": [GUEST], "hosts": [there]})
    settings["estate_policy"]["max_moves"] = 1
    plan(fresh, settings)
    return Leaving(fresh, here, there, settings)


def test_a_guest_moves_with_its_disks_by_consent(leaving: Leaving) -> None:
    scene, settings = leaving.scene, leaving.settings
    refused(apply(scene, settings), "moves_offline")
    assert scene.places() == scene.guests
    shown = apply(scene, settings, *CONSENT, "--check", "--diff")
    assert shown.rc == 0, shown.text
    assert scene.places() == scene.guests
    print("\n".join(re.findall(r"step \d+ of \d+:[^\"\\]*", leaving.arrives().text)))
    early = apply(scene, settings, "-e", f"moves_forget={GUEST}")
    scene.holds(leaving.here, f"lvs {DISK}.moved")
    refused(early, "moves_keep_days")
    forgotten = apply(scene, settings, "-e", f"moves_forget={GUEST}", "-e", "moves_keep_days=0")
    assert forgotten.rc == 0, forgotten.text
    assert GUEST not in scene.run(leaving.here, "lvs vg_guests")
    assert scene.places() == {**scene.guests, GUEST: leaving.there}


def test_a_volume_is_in_the_way_and_the_controller_dies_after_the_hand_over(leaving: Leaving) -> None:
    scene, settings = leaving.scene, leaving.settings
    scene.run(leaving.there, f"lvcreate -q -y -W n -L 4M -n {DISK.rsplit('/', 1)[1]} vg_guests")
    refused(apply(scene, settings, *CONSENT), f"{leaving.there} has {DISK} already, and nothing is written over it")
    assert scene.places() == scene.guests
    scene.run(leaving.there, f"lvremove -q -y {DISK}")
    scene.kill_controller(leaving.point(IS_GIVEN), with_module=False)
    run = lock_holder(scene, settings, *CONSENT)
    scene.without_controllers(*HOSTS)
    # Its disk is the other host's, where nobody has started it; its old host cannot.
    assert leaving.place() is None
    leaving.arrives("-e", f"break_lock={run}")


def test_the_target_dies_while_the_guest_is_down(leaving: Leaving) -> None:
    """It is started again at home by its move, whose unit has to be free for the next one."""
    scene = leaving.scene
    scene.spoiled = True
    done = scene.meanwhile(leaving.point(IS_DOWN), lambda: faults.power_off(scene.lab, leaving.there))
    assert done.rc != 0, done.text
    scene.wait(leaving.here, f"! {UNIT}", 900, f"cat /var/lib/xenfold/moves/{GUEST}.log")
    scene.holds(leaving.here, f"xl list {GUEST}", f"! systemctl list-units --all | grep -q xenfold-move-{GUEST}")
    last = counts_since_start(scene, leaving.here, GUEST)[-1]
    scene.wait(leaving.here, f"grep -q 'count {last + 3}' {CONSOLE.format(GUEST)}", 60, f"tail {CONSOLE.format(GUEST)}")
    scene.power_on()
    leaving.arrives()


def test_the_source_dies_while_the_guest_is_down(leaving: Leaving) -> None:
    scene = leaving.scene
    scene.spoiled = True
    done = scene.meanwhile(leaving.point(IS_DOWN), lambda: faults.power_off(scene.lab, leaving.here))
    assert done.rc != 0, done.text
    assert GUEST not in scene.domains(leaving.there)
    scene.power_on()
    # Before the hand-over its disk is here, so it starts with its host.
    scene.wait(leaving.here, f"xl list {GUEST}", 300, "xl list; lvs")
    assert leaving.place() == leaving.here
    scene.wait(leaving.here, f"tail -n 3 {CONSOLE.format(GUEST)} | grep -q 'count '", 120, f"tail {CONSOLE.format(GUEST)}")
    leaving.arrives()
