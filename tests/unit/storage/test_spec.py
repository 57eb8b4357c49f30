# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the inventory may say, and whether role, modules and their documents say the same."""
from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from ansible_collections.xenfold.consolidation.plugins.module_utils import storage_spec
from ansible_collections.xenfold.consolidation.plugins.module_utils.iscsi.targets import TARGET_SPEC
from ansible_collections.xenfold.consolidation.plugins.modules import iscsi_targets, lvm_volumes, md_array, md_replace

from tests.unit.storage.samples import ARRAY

ROLE = Path(__file__).parents[3] / "roles/storage"
GROUP = {"name": "vg", "devices": ["/dev/md/guests"]}
VOLUME = {"name": "a", "volume_group": "vg", "size_gib": 1.0}


@pytest.mark.parametrize(("arrays", "groups", "text"), [
    ([{**ARRAY, "members": ARRAY["members"][:3]}], [], "array 'guests': members: value 3 members, allowed 4 or more for level 10"),
    ([{**ARRAY, "level": 4}], [], "array 'guests': level: value 4, allowed 0, 1, 5, 6, 10"),
    ([{**ARRAY, "members": [{"id": "", "serial": "D1"}, *ARRAY["members"][1:]]}], [], "id: value '', allowed a name under /dev/disk/by-id"),
    ([{**ARRAY, "members": [{"id": "../../vdb", "serial": "D1"}, *ARRAY["members"][1:]]}], [],
     "id: value '../../vdb', allowed a name under"),
    ([{**ARRAY, "members": [{"id": "x-part1", "serial": "D1"}, *ARRAY["members"][1:]]}], [],
     "id: value 'x-part1', allowed a whole disk, this is a partition"),
    ([{**ARRAY, "members": [{"id": "x", "serial": ""}, *ARRAY["members"][1:]]}], [], "x: serial: value '', allowed the serial number"),
    ([{**ARRAY, "members": [{"id": "x", "serial": "D1", "size_gib": 0}, *ARRAY["members"][1:]]}], [],
     "x: size_gib: value 0, allowed a number above 0"),
    ([{**ARRAY, "members": [{"id": "x", "serial": "D1", "size_gib": math.inf}, *ARRAY["members"][1:]]}], [],
     "x: size_gib: value inf, allowed a number above 0"),
    ([ARRAY, {**ARRAY, "name": "b"}], [], "members: serial: value 'D1', allowed once: a disk is in one array"),
    ([ARRAY, {**ARRAY, "name": "b"}], [], "members: id: value 'virtio-D1', allowed once: a disk is in one array"),
    ([ARRAY, ARRAY], [], "array 'guests': name: value 'guests', allowed once on a host"),
    ([{**ARRAY, "name": "A B"}], [], "name: value 'A B', allowed a lower-case letter"),
    ([{**ARRAY, "name": "../x"}], [], "name: value '../x', allowed a lower-case letter"),
    ([{**ARRAY, "chunk_kib": 100}], [], "chunk_kib: value 100, allowed a power of two"),
    ([{**ARRAY, "chunk_kib": 2}], [], "chunk_kib: value 2, allowed a power of two"),
    ([{**ARRAY, "uuid": "1234"}], [], "uuid: value '1234', allowed mdadm's form"),
    ([ARRAY], [{"name": "vg", "devices": ["/dev/md/other"]}],
     "devices: value '/dev/md/other', allowed arrays of this host: /dev/md/guests"),
    ([ARRAY], [{"name": "vg", "devices": ["/dev/sda"]}], "devices: value '/dev/sda', allowed /dev/md/NAME"),
    ([ARRAY], [{"name": "-x", "devices": ["/dev/md/guests"]}], "name: value '-x', allowed a name that LVM takes"),
    ([ARRAY], [{"name": "vg", "devices": []}], "devices: value [], allowed one or more"),
    ([ARRAY], [GROUP, GROUP], "volume group 'vg': name: value 'vg', allowed once on a host"),
    ([ARRAY], [GROUP, {**GROUP, "name": "b"}], "volume groups: devices: value '/dev/md/guests', allowed once on a host"),
])
def test_bad_descriptions_are_named(arrays, groups, text):
    errors = storage_spec.check_storage(arrays, groups)
    assert any(text in error for error in errors), errors


def test_a_good_description_passes():
    assert storage_spec.check_storage([ARRAY], [{"name": "vg_guests", "devices": ["/dev/md/guests"]}]) == []
    assert storage_spec.check_volume_groups([{"name": "vg", "devices": ["/dev/md/any", "/dev/disk/by-id/x"]}]) == []
    assert storage_spec.check_volumes([{"name": "web01-root", "volume_group": "vg", "size_gib": 1}]) == []


@pytest.mark.parametrize(("wipe", "errors"), [
    ([], []),
    ([("D1", "D1"), ("D4", "D4")], []),
    ([("D1", "D2")], ["wipe: serial D1: confirm: value 'D2', allowed the same serial again"]),
    ([("D1", "")], ["wipe: serial D1: confirm: value '', allowed the same serial again"]),
    ([("D1", "d1")], ["wipe: serial D1: confirm: value 'd1', allowed the same serial again"]),
    ([("E1", "E1")], ["wipe: serial: value 'E1', allowed serials of disks in arrays: D1, D2, D3, D4"]),
])
def test_consents(wipe, errors):
    given = [{"serial": serial, "confirm": confirm} for serial, confirm in wipe]
    assert storage_spec.check_wipe(given, [ARRAY]) == errors
    assert storage_spec.check_wipe(given, []) or not given


@pytest.mark.parametrize(("volumes", "text"), [
    ([{**VOLUME, "name": "a/b"}], "name: value 'a/b', allowed a name that LVM takes"),
    ([{**VOLUME, "name": "snapshot1"}], "name: value 'snapshot1', allowed a name that LVM takes"),
    ([{**VOLUME, "name": "a_rimage_0"}], "name: value 'a_rimage_0', allowed a name that LVM takes"),
    ([{**VOLUME, "size_gib": 0.0}], "volume 'a': size_gib: value 0.0, allowed a number above 0"),
    ([{**VOLUME, "size_gib": -1.0}], "size_gib: value -1.0, allowed a number above 0"),
    ([{**VOLUME, "size_gib": math.inf}], "size_gib: value inf, allowed a number above 0"),
    ([{**VOLUME, "size_gib": math.nan}], "size_gib: value nan, allowed a number above 0"),
    ([VOLUME, VOLUME], "volume 'vg/a': name: value 'vg/a', allowed once in its volume group"),
])
def test_bad_volumes_are_named(volumes, text):
    assert text in " ".join(storage_spec.check_volumes(volumes))


def test_every_option_of_the_role_reaches_the_modules():
    spec = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in spec.items()} == yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    text, readme = (ROLE / "tasks/main.yml").read_text(), (ROLE / "README.md").read_text()
    tasks = yaml.safe_load(text)
    for task, module in zip(tasks, (md_array, lvm_volumes, iscsi_targets), strict=True):
        documented = yaml.safe_load(module.DOCUMENTATION)
        assert set(task[f"xenfold.consolidation.{documented['module']}"]) == set(documented["options"])
    assert all(f"{{{{ {name} }}}}" in text and f"`{name}`" in readme for name in spec)


def test_the_replacement_documents_its_options():
    documented = yaml.safe_load(md_replace.DOCUMENTATION)["options"]
    assert set(documented["wipe"]["suboptions"]) == set(storage_spec.WIPE_SPEC)
    text = (ROLE.parents[1] / "playbooks/replace_disk.yml").read_text()
    tasks = yaml.safe_load(text)[0]["tasks"]
    [asked] = [task["xenfold.consolidation.md_replace"] for task in tasks if "xenfold.consolidation.md_replace" in task]
    assert set(documented) - set(asked) == {"wait_seconds", "until_percent"}


@pytest.mark.parametrize(("module", "option", "variable", "keys"), [
    (md_array, "arrays", "storage_arrays", storage_spec.ARRAY_SPEC),
    (md_array, "wipe", "storage_wipe", storage_spec.WIPE_SPEC),
    (md_array, "grow", "storage_grow", storage_spec.GROW_SPEC),
    (lvm_volumes, "grow", "storage_grow", storage_spec.GROW_SPEC),
    (lvm_volumes, "volume_groups", "storage_volume_groups", storage_spec.VOLUME_GROUP_SPEC),
    (lvm_volumes, "volumes", "storage_volumes", storage_spec.VOLUME_SPEC),
    (iscsi_targets, "targets", "storage_iscsi", TARGET_SPEC),
])
def test_documents_name_every_key_of_an_item(module, option, variable, keys):
    documented = yaml.safe_load(module.DOCUMENTATION)["options"][option]["suboptions"]
    inner = documented.get("members", {}).get("suboptions", {}), keys.get("members", {}).get("options", {})
    for documents, spec in ((documented, keys), inner):
        told = {key: {name: value for name, value in entry.items() if name in ("type", "required", "choices", "default", "elements")}
                for key, entry in documents.items()}
        wanted = {key: {name: value for name, value in entry.items() if name not in ("options", "no_log")} for key, entry in spec.items()}
        assert told == wanted
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    row = next(line for line in (ROLE / "README.md").read_text().splitlines() if line.startswith(f"| `{variable}`"))
    for text in (row, str(options[variable]["description"])):
        assert [key for key in [*keys, *inner[1]] if key not in text] == []
