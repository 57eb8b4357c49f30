# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A guest begins from a disk image, gets a seed for its first boot, and is removed by consent, its volumes last."""
from __future__ import annotations

import hashlib
import io
import tarfile
from typing import Any

import pytest
from scene import Scene

from tests.lab.hands import ROUNDS, Run

pytestmark = pytest.mark.skipif(ROUNDS < 2, reason="takes ten minutes: make lab-soak")

HOST, GUEST = "xen01", "image01"
CONSOLE = f"/var/log/xen/console/guest-{GUEST}.log"


def archive() -> bytes:
    """A file system in which somebody has counted to 41."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        entry = tarfile.TarInfo("count")
        content = b"40\n41\n"
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def run(scene: Scene, settings: dict[str, Any], *words: str) -> Run:
    return scene.play("molecule/consolidation/one_guest.yml", HOST, words, settings)


def test_a_guest_from_an_image_and_its_end(fresh: Scene) -> None:
    content = archive()
    image = fresh.folder / "count.tar.gz"
    image.write_bytes(content)
    settings = {
        "guests_disk_images": [{"name": "counted", "path": str(image), "sha256": hashlib.sha256(content).hexdigest(), "format": "tar"}],
        "guests_definitions": [{
            "name": GUEST, "type": "pvh", "vcpus": 1, "memory_mib": 128, "tsc_mode": "native", "autostart": 20,
            "disks": [{"name": "data", "size_gib": 0.125, "volume_group": "vg_guests", "image": "counted"}],
            "networks": [{"bridge": "xenbr0"}],
            "first_boot": {"hostname": "image01.example.org", "networks": [{"address": "10.9.0.62/24"}]},
            "boot": {"image": "lab", "cmdline": f"console=hvc0 name={GUEST} ip=10.9.0.62/24"},
        }],
    }
    shown = run(fresh, settings, "--check", "--diff")
    assert shown.rc == 0 and GUEST not in fresh.domains(HOST), shown.text
    wrong = {**settings, "guests_disk_images": [{**settings["guests_disk_images"][0], "sha256": "0" * 64}]}
    refused = run(fresh, wrong)
    assert refused.rc != 0 and "sha256" in refused.text, refused.text
    fresh.holds(HOST, f"! lvs vg_guests | grep -q {GUEST}")
    done = run(fresh, settings)
    assert done.rc == 0, done.text
    fresh.wait(HOST, f"grep -q 'count 42' {CONSOLE}", 120, f"tail -n 40 {CONSOLE}")
    text = fresh.run(HOST, f"cat {CONSOLE}")
    assert "disk kept" in text and "count 41" not in text
    seed = fresh.run(HOST, f"ls /dev/vg_guests/{GUEST}-seed-*")
    assert fresh.run(HOST, f"blkid -o value -s LABEL {seed}").lower() == "cidata"
    said = fresh.run(HOST, f"mkdir -p /mnt/seed && mount -o ro {seed} /mnt/seed && cat /mnt/seed/*; umount /mnt/seed")
    assert "image01.example.org" in said and "10.9.0.62/24" in said
    again = run(fresh, settings)
    assert (again.rc, again.changed) == (0, {HOST: 0}), again.text
    # The guest leaves the estate, and its volumes wait under another name.
    gone = {"guests_definitions": [], "guests_remove": [GUEST]}
    shown = run(fresh, gone, "--check", "--diff")
    assert shown.rc == 0 and GUEST in fresh.domains(HOST), shown.text
    done = run(fresh, gone)
    assert done.rc == 0 and GUEST not in fresh.domains(HOST), done.text
    fresh.holds(HOST, f"lvs vg_guests/{GUEST}-data.removed", f"! test -e /etc/xen/guests/{GUEST}.cfg",
                f"! test -L /etc/xen/auto/20-{GUEST}")
    again = run(fresh, gone)
    assert (again.rc, again.changed) == (0, {HOST: 0}), again.text
    purge = {"guests_definitions": [], "guests_purge": [GUEST]}
    early = run(fresh, purge)
    assert early.rc != 0 and "allowed to be purged from" in early.text, early.text
    fresh.holds(HOST, f"lvs vg_guests/{GUEST}-data.removed")
    done = run(fresh, {**purge, "guests_keep_days": 0})
    assert done.rc == 0, done.text
    fresh.holds(HOST, f"! lvs vg_guests | grep -q {GUEST}")
