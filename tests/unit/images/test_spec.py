# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disk images by name, and which volumes are filled with what."""
from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.fillings_of import FilterModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.images import first_boot, spec
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import VOLUME_SPEC
from ansible_collections.xenfold.consolidation.plugins.modules import guest_image

from tests.unit.images.test_first_boot import GUEST, seed_of

ROLE = Path(__file__).parents[3] / "roles/guests"
IMAGE = {"name": "debian-12", "path": "/srv/debian.qcow2", "format": "qcow2", "sha256": "a" * 64}
SPARE = {"name": "other", "url": "https://example.org/a.tar.xz", "format": "tar", "sha256": "B" * 64, "filesystem": "xfs"}
fillings_of = FilterModule().filters()["fillings_of"]


def test_what_new_volumes_are_filled_with():
    data = {"name": "data", "size_gib": 1, "volume_group": "vg"}
    found = fillings_of([{**GUEST, "disks": [*GUEST["disks"], data]}, {**GUEST, "name": "web02", "first_boot": None}], [IMAGE, SPARE])
    assert found["images"] == [IMAGE]
    assert [(entry["volume_group"], entry["name"], entry.get("image")) for entry in found["fill"]] == [
        ("vg", "web01-root", "debian-12"), ("vg", f"web01-{seed_of(GUEST)['name']}", None), ("vg", "web02-root", "debian-12")]
    assert found["fill"][1]["files"] == first_boot.files(normalise(GUEST))
    assert spec.check_fill(found["fill"], {"debian-12": IMAGE}) == []


def test_guests_without_images_need_nothing():
    plain = {**GUEST, "first_boot": None, "disks": [{"name": "root", "size_gib": 1, "volume_group": "vg"}]}
    assert fillings_of([plain], [IMAGE]) == fillings_of([], []) == {"fill": [], "images": []}


@pytest.mark.parametrize(("images", "text"), [
    ([], "guest 'web01': disks[0].image: value 'debian-12', allowed a name of guests_disk_images: there are none"),
    ([SPARE], "allowed a name of guests_disk_images: other"),
    (IMAGE, "disk images: value"),
    ("debian", "disk images: value 'debian', allowed a list of images"),
    (["debian"], "disk image number 1: value 'debian', allowed a mapping"),
    ([{**IMAGE, "name": None}], "disk image number 1: name: is missing"),
    ([{**IMAGE, "name": "A"}], "disk image 'A': name: value 'A', allowed lower-case letters"),
    ([{**IMAGE, "name": "../x"}], "disk image '../x': name: value"),
    ([IMAGE, IMAGE], "disk image 'debian-12': name: value 'debian-12', allowed a name of its own"),
    ([{**IMAGE, "sha256": None}], "disk image 'debian-12': sha256: is missing"),
    ([{**IMAGE, "sha256": "abc"}], "sha256: value 'abc', allowed 64 hexadecimal digits"),
    ([{**IMAGE, "sha256": 5}], "sha256: value 5, allowed a text that is not empty"),
    ([{**IMAGE, "format": "vhd"}], "format: value 'vhd', allowed raw, qcow2, tar"),
    ([{**IMAGE, "path": None}], "path: is missing; an image has a path on the control node, or a url"),
    ([{**IMAGE, "url": "https://example.org/x"}], "path: is given beside url"),
    ([{**SPARE, "url": "ftp://example.org/x"}], "url: value 'ftp://example.org/x', allowed an address as https://"),
    ([{**SPARE, "url": "file:///etc/passwd"}], "url: value"),
    ([{**IMAGE, "filesystem": "ext4"}], "filesystem: value 'ext4', allowed only for format tar; this image is qcow2"),
    ([{**SPARE, "filesystem": "vfat"}], "filesystem: value 'vfat', allowed ext4, xfs"),
    ([{**IMAGE, "checksum": "x"}], "checksum: is no key here, allowed filesystem, format, name, path, sha256, url"),
])
def test_bad_images_are_named(images, text):
    with pytest.raises(AnsibleFilterError, match=r"^fillings_of: ") as caught:
        fillings_of([GUEST], images)
    assert text in str(caught.value)


def test_a_bad_guest_is_named():
    with pytest.raises(AnsibleFilterError, match="memory_mib: is missing"):
        fillings_of([{**GUEST, "memory_mib": None}], [IMAGE])


def _told(entry):
    return {key: {name: value for name, value in rule.items() if name in ("type", "required", "choices", "default", "elements")}
            for key, rule in entry.items()}


@pytest.mark.parametrize(("option", "keys"), [("images", spec.IMAGE_SPEC), ("fill", spec.FILL_SPEC), ("volumes", VOLUME_SPEC)])
def test_documents_name_every_key(option, keys):
    assert _told(yaml.safe_load(guest_image.DOCUMENTATION)["options"][option]["suboptions"]) == _told(keys)


def test_every_option_of_the_role_has_its_place():
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults, readme = yaml.safe_load((ROLE / "defaults/main.yml").read_text()), (ROLE / "README.md").read_text()
    assert {name: rule["default"] for name, rule in options.items() if "default" in rule} == {
        name: value for name, value in defaults.items() if name not in ("guests_cpuid", "guests_planned")}
    assert [name for name in options if f"`{name}`" not in readme] == []
    assert _told(options["guests_disk_images"]["options"]) == _told(spec.IMAGE_SPEC)


def test_the_role_makes_volumes_by_one_call():
    """Either module makes all volumes of the guests, so exactly one of them is called."""
    tasks = yaml.safe_load((ROLE / "tasks/main.yml").read_text())
    calls = {name: task for task in tasks for name in ("lvm_volumes", "guest_image") if f"xenfold.consolidation.{name}" in task}
    assert [calls[name]["when"] for name in ("lvm_volumes", "guest_image")] == [
        f"_guests_fillings.fill | length {sign} 0" for sign in ("==", ">")]
    assert len({calls[name][f"xenfold.consolidation.{name}"]["volumes"] for name in calls}) == 1
    assert set(calls["guest_image"]["xenfold.consolidation.guest_image"]) == set(yaml.safe_load(guest_image.DOCUMENTATION)["options"])
