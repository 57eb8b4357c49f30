# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must hold when a move goes wrong: one copy of the guest runs, it is not lost, and the next run finishes or says what it needs."""
from __future__ import annotations

from typing import Any

import pytest
from moving import GUEST, apply, begin, lock_holder, plan, point, refused, wanted, where, where_on
from scene import HOSTS, Scene

from lab import faults
from tests.lab.hands import ROUNDS

long = pytest.mark.skipif(ROUNDS < 2, reason="takes an hour: make lab-soak")

# On the source while memory is sent, and on the target while it arrives.
SENDS = f"systemctl is-active -q xenfold-move-{GUEST}.service && pgrep -f '[x]l migrate'"
ARRIVES = f"xl list | grep -q '^{GUEST}--incoming '"
# A domain that is never run, with a kernel that every host of the lab has.
STRANGER = ("printf 'name=\"%s\"\\ntype=\"pvh\"\\nkernel=\"/var/lib/xenfold/images/lab/kernel\"\\nmemory={memory}\\nvcpus=1\\n'"
            " {name} > /run/{name}.cfg && xl create -p -q /run/{name}.cfg")


@pytest.fixture(name="moving")
def _moving(pair: Scene) -> Scene:
    """The pair with the guest on xen01: as the test before left it, or begun anew."""
    if where(pair) != {"xen01": [GUEST], "xen02": []}:
        pair.restore()
        begin(pair)
    return pair


@pytest.fixture(name="settings")
def _settings(moving: Scene) -> dict[str, Any]:
    """Of a plan that takes the guest from xen01 to xen02."""
    settings = wanted(moving, "xen02", "xen01")
    plan(moving, settings)
    return settings


def is_alone_on(scene: Scene, host: str) -> None:
    """One copy alone, on that host, and it goes on."""
    found = where(scene)
    assert found == {other: [GUEST] if other == host else [] for other in HOSTS}, found
    scene.counts_on(host, GUEST, scene.counted(GUEST)[-1])


def arrives_and_goes_back(scene: Scene, settings: dict[str, Any]) -> None:
    """The next run finishes, the one after it does nothing; no number is missing; then it goes home for the next test."""
    done = apply(scene, settings)
    assert done.rc == 0, done.text
    is_alone_on(scene, "xen02")
    again = apply(scene, settings)
    assert (again.rc, set(again.changed.values())) == (0, {0}), again.text
    numbers = scene.counted(GUEST)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    home = wanted(scene, "xen01", "xen02")
    plan(scene, home)
    assert apply(scene, home).rc == 0
    is_alone_on(scene, "xen01")


@long
def test_another_host_is_just_starting_the_guest(fresh: Scene) -> None:
    """For a second controller, whose start began after this one had asked."""
    fresh.run("xen02", "mkdir -p /run/xenfold/starting")
    fresh.run("xen02", f"systemd-run -q --unit=starts flock /run/xenfold/starting/{GUEST} sleep infinity")
    settings = wanted(fresh, "xen01")
    plan(fresh, settings)
    refused(apply(fresh, settings), f"No guest was changed: guest '{GUEST}': xen02 runs or starts it")
    fresh.holds("xen01", f"! test -e /etc/xen/guests/{GUEST}.cfg", f"! test -L /etc/xen/auto/10-{GUEST}")
    assert where(fresh) == {"xen01": [], "xen02": []}
    fresh.run("xen02", "systemctl stop starts")
    done = apply(fresh, settings)
    assert done.rc == 0, done.text
    assert where(fresh) == {"xen01": [GUEST], "xen02": []}
    fresh.counts_on("xen01", GUEST, 2)


def test_a_target_without_memory(moving: Scene, settings: dict[str, Any]) -> None:
    free = int(moving.run("xen02", "xl info | awk '/^free_memory/ {print $3}'"))
    moving.run("xen02", STRANGER.format(name="hog", memory=free - 100))
    refused(apply(moving, settings), "No move of wave 1 was begun", "host 'xen02'", "MiB of memory are free")
    is_alone_on(moving, "xen01")
    moving.run("xen02", "xl destroy hog")


def test_the_name_is_taken_on_the_target(moving: Scene, settings: dict[str, Any]) -> None:
    moving.run("xen02", STRANGER.format(name=GUEST, memory=96))
    refused(apply(moving, settings), "Nothing was moved", GUEST, "xen02")
    assert where(moving) == {"xen01": [GUEST], "xen02": [GUEST]}
    moving.run("xen02", f"xl destroy {GUEST}")
    is_alone_on(moving, "xen01")


@long
def test_a_second_controller_and_the_death_of_the_first(moving: Scene, settings: dict[str, Any]) -> None:
    moving.kill_controller(point(moving, settings, "xen01", SENDS), with_module=False)
    run = lock_holder(moving, settings)
    moving.without_controllers(*HOSTS)
    # The move itself goes on without a controller.
    moving.wait("xen01", f"! systemctl is-active -q xenfold-move-{GUEST}.service", 300, f"systemctl status xenfold-move-{GUEST}")
    is_alone_on(moving, "xen02")
    done = apply(moving, settings, "-e", f"break_lock={run}")
    assert done.rc == 0, done.text
    moving.holds("xen02", f"test -L /etc/xen/auto/10-{GUEST}", f"test -e /etc/xen/guests/{GUEST}.cfg")
    moving.holds("xen01", f"! test -e /etc/xen/auto/10-{GUEST}", f"! test -e /etc/xen/guests/{GUEST}.cfg")
    arrives_and_goes_back(moving, settings)


@long
def test_the_network_between_the_hosts_is_cut(moving: Scene, settings: dict[str, Any]) -> None:
    done = moving.meanwhile(point(moving, settings, "xen02", ARRIVES), lambda: moving.command("cut-network", "xen02"))
    refused(done, f"{GUEST} stays on xen01")
    moving.wait("xen01", f"! systemctl is-active -q xenfold-move-{GUEST}.service", 300)
    assert where(moving)["xen01"] == [GUEST]
    moving.command("join-network", "xen02")
    moving.wait("xen02", "grep -q 'Number of ports: 2' /proc/net/bonding/bond0", 60, "cat /proc/net/bonding/bond0")
    # A receiver that has not noticed yet is waited for by whoever runs it again.
    moving.wait("xen02", "! pgrep -f '[x]l migrate-receive'", 300, "ps -ef")
    arrives_and_goes_back(moving, settings)


@long
def test_the_target_dies_while_the_guest_arrives(moving: Scene, settings: dict[str, Any]) -> None:
    moving.spoiled = True
    done = moving.meanwhile(point(moving, settings, "xen02", ARRIVES), lambda: faults.power_off(moving.lab, "xen02"))
    assert done.rc != 0, done.text
    moving.wait("xen01", f"! systemctl is-active -q xenfold-move-{GUEST}.service", 300)
    assert where_on(moving, "xen01") == [GUEST]
    moving.power_on()
    arrives_and_goes_back(moving, settings)


@long
def test_the_source_dies_while_the_guest_leaves(moving: Scene, settings: dict[str, Any]) -> None:
    moving.spoiled = True
    done = moving.meanwhile(point(moving, settings, "xen02", ARRIVES), lambda: faults.power_off(moving.lab, "xen01"))
    assert done.rc != 0, done.text
    # The copy on the target never ran, and is not let run: the guest would be one that nobody has seen whole.
    moving.run("xen02", f"! xl list | grep -q '^{GUEST} '")
    moving.power_on()
    # It starts anew with its host, and the next run clears up what arrived and moves it.
    moving.wait("xen01", f"xl list | grep -q '^{GUEST} '", 300, "xl list")
    moving.wait("xen02", "! pgrep -f '[x]l migrate-receive'", 300, "ps -ef; xl list")
    done = apply(moving, settings)
    assert done.rc == 0, done.text
    assert where(moving) == {"xen01": [], "xen02": [GUEST]}
    again = apply(moving, settings)
    assert (again.rc, set(again.changed.values())) == (0, {0}), again.text


@long
def test_a_dead_host_is_recovered_and_taken_back(moving: Scene, settings: dict[str, Any]) -> None:
    """The guest has no disk that would be lost with its host, so it starts on the other."""
    moving.spoiled = True
    faults.power_off(moving.lab, "xen01")
    inventory = moving.copy_of_inventory()
    words = ("-e", f"plan_dir={moving.folder}/recover", "-e", "host=xen01")
    off = (*words, "-e", "hosts_off=xen01")
    given = {**settings, "estate_rules": []}
    refused(moving.play("playbooks/recover.yml", "both", words, given, limit=False), "hosts_off: value '', allowed xen01")
    done = moving.play("playbooks/recover.yml", "both", off, given, 1200, limit=False)
    assert done.rc == 0, done.text
    assert where_on(moving, "xen02") == [GUEST]
    assert "estate_drained" in (inventory / "drained.yml").read_text()
    again = moving.play("playbooks/recover.yml", "both", off, given, 1200, limit=False)
    assert (again.rc, set(again.changed.values())) == (0, {0}), again.text
    # With its power back it would start the guest by its link; it asks first, and leaves it.
    moving.power_on()
    moving.wait("xen01", "systemctl is-active -q xendomains", 300, "systemctl status --no-pager -l xendomains")
    assert where(moving) == {"xen01": [], "xen02": [GUEST]}
    said = moving.run("xen01", "cat /var/lib/xenfold/autostart-held.json; journalctl -b --no-pager -u xendomains")
    assert f'"{GUEST}": "it runs on xen02"' in said and f"{GUEST} does not start with this host: it runs on xen02" in said, said
    moving.holds("xen01", f"! test -L /etc/xen/auto/10-{GUEST}")
    for guest in moving.on("xen01"):
        moving.wait("xen01", f"xl list {guest}", 180, "xl list")
    # It was started anew, so its numbers are below those that the dead host has heard.
    moving.counts_on("xen02", GUEST)
    back = moving.play("playbooks/return.yml", "both", words, given, 1200, limit=False)
    assert back.rc == 0, back.text
    marks = inventory / "drained.yml"
    assert not marks.exists() or "xen01" not in marks.read_text()
    moving.holds("xen01", f"! test -e /etc/xen/guests/{GUEST}.cfg")
