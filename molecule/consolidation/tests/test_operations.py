# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host is updated and rebooted while its guests run on the other one."""
from __future__ import annotations

import concurrent.futures
import re
import threading

import pytest
from moving import CONSOLE, counts_since_start
from scene import HOSTS, Scene

from lab import faults, process
from tests.lab.hands import ROUNDS

pytestmark = pytest.mark.skipif(ROUNDS < 2, reason="takes a quarter of an hour: make lab-soak")

# A package that has a newer version in a repository of files, the only one that the host then knows.
REPOSITORY = r"""
set -e
mkdir -p /srv/repo /run/deb/DEBIAN
mkdir -p /run/sources; mv /etc/apt/sources.list /etc/apt/sources.list.d/* /run/sources/ 2>/dev/null || true
for version in 1 2; do
    printf 'Package: xenfold-sample\nVersion: %s\nArchitecture: all\nMaintainer: Xenfold <x@localhost>\nDescription: a sample\n' $version \
        > /run/deb/DEBIAN/control
    dpkg-deb -b /run/deb /srv/repo/sample_$version.deb
done
{ cat /run/deb/DEBIAN/control
  printf 'Filename: ./sample_2.deb\nSize: %s\nSHA256: %s\n\n' $(stat -c %s /srv/repo/sample_2.deb) \
      $(sha256sum < /srv/repo/sample_2.deb | cut -d ' ' -f 1); } > /srv/repo/Packages
dpkg -i /srv/repo/sample_1.deb
echo 'deb [trusted=yes] file:/srv/repo ./' > /etc/apt/sources.list
apt-get -q update
"""


def start_again(scene: Scene, host: str, ended: threading.Event) -> None:
    """A reboot ends the host's QEMU (docs/lab.md): it is started again, once."""
    while not ended.wait(1):
        if not process.alive(scene.lab, host):
            faults.power_on(scene.lab, [host])
            return


def test_a_host_is_updated_while_its_guests_run_on_the_other(fresh: Scene) -> None:
    inventory = fresh.copy_of_inventory()
    host = fresh.guests["db01"]
    other = next(name for name in HOSTS if name != host)
    # What may not share a host has nowhere to go with two of them.
    settings = {"estate_rules": [], "dom0_reboot": "drain"}
    words = ("-e", f"host={host}", "-e", "moves_offline=all")
    fresh.run(host, REPOSITORY)
    booted = fresh.run(host, "cat /proc/sys/kernel/random/boot_id")
    leavers = fresh.on(host)
    shown = fresh.play_all("update", settings, *words, "--check", "--diff")
    assert shown.rc == 0 and "this is a preview" in shown.text, shown.text
    assert (fresh.places(), fresh.run(host, "cat /proc/sys/kernel/random/boot_id")) == (fresh.guests, booted)
    before = {guest: counts_since_start(fresh, host, guest)[-1] for guest in leavers}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        ended = threading.Event()
        pool.submit(start_again, fresh, host, ended)
        try:
            done = fresh.play_all("update", settings, *words, timeout=6000)
        finally:
            ended.set()
    assert done.rc == 0, done.text
    print("\n".join(re.findall(r"step \d+ of \d+:[^\"\\]*", done.text)))
    assert f"{host} was updated and rebooted" in done.text
    assert fresh.run(host, "cat /proc/sys/kernel/random/boot_id") != booted
    fresh.holds(host, "dpkg-query -W xenfold-sample | grep -q '2$'", "! test -e /run/reboot-required")
    assert fresh.places() == fresh.guests
    assert not (inventory / "drained.yml").exists()
    for guest in leavers:
        on_the_other = counts_since_start(fresh, other, guest)
        assert on_the_other[0] > before[guest]
        fresh.wait(host, f"grep -q 'count {on_the_other[-1] + 2}' {CONSOLE.format(guest)}", 60, f"tail -n 20 {CONSOLE.format(guest)}")
        assert counts_since_start(fresh, host, guest)[0] == on_the_other[-1] + 1
    again = fresh.play_all("update", settings, *words)
    assert again.rc == 0 and f"{host}: nothing is to be done" in again.text, again.text
    assert set(again.changed.values()) == {0}, again.text
