# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the inventory may say, and whether role, modules and their documents say the same."""
from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from ansible_collections.xenfold.consolidation.plugins.module_utils import storage_spec
from ansible_collections.xenfold.consolidation.plugins.modules import lvm_volumes, md_array

from tests.unit.storage.samples import ARRAY

ROLE = Path(__file__).parents[3] / "roles/storage"
GROUP = {"name": "vg", "devices": ["/dev/md/guests"]}
VOLUME = {"name": "a", "volume_group": "vg", "size_gib": 1.0}


@pytest.mark.parametrize(("arrays", "groups", "text"), [
    ([{**ARRAY, "members": ARRAY["members"][:3]}], [], "array 'guests': members: 3 are too few for level 10; allowed are 4 or more"),
    ([{**ARRAY, "level": 4}], [], "array 'guests': level: 4 is not supported; allowed are 0, 1, 5, 6, 10"),
    ([{**ARRAY, "members": [{"id": "", "serial": "D1"}, *ARRAY["members"][1:]]}], [], "id '' is not a name under /dev/disk/by-id"),
    ([{**ARRAY, "members": [{"id": "../../vdb", "serial": "D1"}, *ARRAY["members"][1:]]}], [], "'../../vdb' is not a name under"),
    ([{**ARRAY, "members": [{"id": "x-part1", "serial": "D1"}, *ARRAY["members"][1:]]}], [], "id 'x-part1' is a partition; allowed are"),
    ([{**ARRAY, "members": [{"id": "x", "serial": ""}, *ARRAY["members"][1:]]}], [], "x: serial is missing"),
    ([{**ARRAY, "members": [{"id": "x", "serial": "D1", "size_gib": 0}, *ARRAY["members"][1:]]}], [], "x: size_gib: 0 is not allowed"),
    ([{**ARRAY, "members": [{"id": "x", "serial": "D1", "size_gib": math.inf}, *ARRAY["members"][1:]]}], [], "x: size_gib: inf is not"),
    ([ARRAY, {**ARRAY, "name": "b"}], [], "serial 'D1' stands twice"),
    ([ARRAY, {**ARRAY, "name": "b"}], [], "id 'virtio-D1' stands twice"),
    ([ARRAY, ARRAY], [], "array 'guests': name: stands twice"),
    ([{**ARRAY, "name": "A B"}], [], "name: 'A B' is not allowed"),
    ([{**ARRAY, "name": "../x"}], [], "name: '../x' is not allowed"),
    ([{**ARRAY, "chunk_kib": 100}], [], "chunk_kib: 100 is not allowed; allowed are powers of two"),
    ([{**ARRAY, "chunk_kib": 2}], [], "chunk_kib: 2 is not allowed"),
    ([{**ARRAY, "uuid": "1234"}], [], "uuid: '1234' is not in mdadm's form"),
    ([ARRAY], [{"name": "vg", "devices": ["/dev/md/other"]}], "/dev/md/other is no array of this host; arrays are /dev/md/guests"),
    ([ARRAY], [{"name": "vg", "devices": ["/dev/sda"]}], "/dev/sda may be another disk after a reboot"),
    ([ARRAY], [{"name": "-x", "devices": ["/dev/md/guests"]}], "'-x' is not a name that LVM takes"),
    ([ARRAY], [{"name": "vg", "devices": []}], "devices: none are given"),
    ([ARRAY], [GROUP, GROUP], "volume group 'vg': name: stands twice"),
    ([ARRAY], [GROUP, {**GROUP, "name": "b"}], "volume groups: device /dev/md/guests stands twice"),
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
    ([("D1", "D2")], ["wipe: serial D1: confirm is 'D2'; allowed is the same serial again"]),
    ([("D1", "")], ["wipe: serial D1: confirm is ''; allowed is the same serial again"]),
    ([("D1", "d1")], ["wipe: serial D1: confirm is 'd1'; allowed is the same serial again"]),
    ([("E1", "E1")], ["wipe: serial E1: no array has such a disk; allowed are D1, D2, D3, D4"]),
])
def test_consents(wipe, errors):
    given = [{"serial": serial, "confirm": confirm} for serial, confirm in wipe]
    assert storage_spec.check_wipe(given, [ARRAY]) == errors
    assert storage_spec.check_wipe(given, []) or not given


@pytest.mark.parametrize(("volumes", "text"), [
    ([{**VOLUME, "name": "a/b"}], "'a/b' is not a name that LVM takes"),
    ([{**VOLUME, "name": "snapshot1"}], "'snapshot1' is not a name that LVM takes"),
    ([{**VOLUME, "name": "a_rimage_0"}], "'a_rimage_0' is not a name that LVM takes"),
    ([{**VOLUME, "size_gib": 0.0}], "volume 'a': size_gib: 0.0 is not allowed; allowed is a number above 0"),
    ([{**VOLUME, "size_gib": -1.0}], "size_gib: -1.0 is not allowed"),
    ([{**VOLUME, "size_gib": math.inf}], "size_gib: inf is not allowed"),
    ([{**VOLUME, "size_gib": math.nan}], "size_gib: nan is not allowed"),
    ([VOLUME, VOLUME], "volume 'vg/a': stands twice"),
])
def test_bad_volumes_are_named(volumes, text):
    assert text in " ".join(storage_spec.check_volumes(volumes))


def test_every_option_of_the_role_reaches_the_modules():
    spec = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in spec.items()} == yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    text, readme = (ROLE / "tasks/main.yml").read_text(), (ROLE / "README.md").read_text()
    tasks = yaml.safe_load(text)
    for task, module in zip(tasks, (md_array, lvm_volumes), strict=True):
        documented = yaml.safe_load(module.DOCUMENTATION)
        assert set(task[f"xenfold.consolidation.{documented['module']}"]) == set(documented["options"])
    assert all(f"{{{{ {name} }}}}" in text and f"`{name}`" in readme for name in spec)


@pytest.mark.parametrize(("module", "option", "variable", "keys"), [
    (md_array, "arrays", "storage_arrays", storage_spec.ARRAY_SPEC),
    (md_array, "wipe", "storage_wipe", storage_spec.WIPE_SPEC),
    (lvm_volumes, "volume_groups", "storage_volume_groups", storage_spec.VOLUME_GROUP_SPEC),
    (lvm_volumes, "volumes", "storage_volumes", storage_spec.VOLUME_SPEC),
])
def test_documents_name_every_key_of_an_item(module, option, variable, keys):
    documented = yaml.safe_load(module.DOCUMENTATION)["options"][option]["suboptions"]
    inner = documented.get("members", {}).get("suboptions", {}), keys.get("members", {}).get("options", {})
    for documents, spec in ((documented, keys), inner):
        told = {key: {name: value for name, value in entry.items() if name in ("type", "required", "choices", "default", "elements")}
                for key, entry in documents.items()}
        assert told == {key: {name: value for name, value in entry.items() if name != "options"} for key, entry in spec.items()}
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    row = next(line for line in (ROLE / "README.md").read_text().splitlines() if line.startswith(f"| `{variable}`"))
    for text in (row, str(options[variable]["description"])):
        assert [key for key in [*keys, *inner[1]] if key not in text] == []
