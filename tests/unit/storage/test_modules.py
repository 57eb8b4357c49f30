# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules on recorded commands (`cases.yml`), with a folder as the host: whether this machine has mdadm or LVM does not matter."""
from __future__ import annotations

import json
import platform
import uuid
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import arrays as md
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import members

from tests.unit import command_cases
from tests.unit.storage.fake_host import Host, look_commands

UUID = md.array_uuid("xen01", "a")
WORDS = {"WANTED": UUID, "HYPHENS": str(uuid.UUID(UUID.replace(":", ""))), "NODE": platform.node(),
         **{f"PARTITION{n}": members.part_uuid(UUID, f"S{n}") for n in (1, 2, 3)}}
_LVM = {"vg": ("vgs", "vg_name,vg_free,vg_extent_size"), "pv": ("pvs", "pv_name,vg_name,pv_size,dev_size,pe_start"),
        "lv": ("lvs", "vg_name,lv_name,lv_size")}


def filled(value: Any, words: dict[str, str]) -> Any:
    """The case with its words replaced."""
    if isinstance(value, dict):
        return {key: filled(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, words) for item in value]
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(word, text)
    return value


def expanded(entry: dict[str, Any], mdadm: bool) -> list[dict[str, Any]]:
    """The commands that an entry stands for."""
    if "look" in entry:
        return look_commands(entry["look"], mdadm)
    if "look_listing" in entry:
        return look_commands(entry["look_listing"], mdadm)[:1]
    if "clear" in entry:
        return [{"command": command} for path in entry["clear"] for command in (
            ["wipefs", "--all", path], ["udevadm", "settle"], ["blockdev", "--rereadpt", path], ["udevadm", "settle"])]
    if "cut" in entry:
        path, partition = entry["cut"], {"command": ["sfdisk", "--quiet", "--wipe", "always", "--wipe-partitions", "always", entry["cut"]]}
        return [*expanded({"clear": [path]}, mdadm), partition, {"command": ["udevadm", "settle"]}]
    if "lvm" in entry:
        return [{"command": [tool, "--reportformat", "json", "--units", "b", "--nosuffix", "-o", columns], "out": json.dumps({"report": [{
            kind: [dict(zip(columns.split(","), map(str, [*row, 0, 0, 0]), strict=False)) for row in entry["lvm"].get(kind, [])]}]})}
            for kind, (tool, columns) in _LVM.items()]
    return [entry]


def commands(case: dict[str, Any]) -> list[dict[str, Any]]:
    found, mdadm = [], "mdadm" in case.get("given", {}).get("tools", [])
    for entry in case.get("run", []):
        found += expanded(entry, mdadm)
        mdadm |= entry.get("command", [])[-2:] == ["install", "mdadm"]
    return found


@pytest.mark.parametrize("case", command_cases.load(Path(__file__).with_name("cases.yml")))
def test_module(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = filled(case, WORDS | {"ROOT": str(tmp_path.resolve())})
    host = Host(tmp_path, case.get("given", {}), monkeypatch)
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _self, line: warned.append(line))
    before = host.snapshot()
    result = command_cases.run(case["module"], case | {"run": commands(case)})
    after = host.snapshot()
    if case.get("flags", {}).get("check") or (result["failed"] and "No disk was changed" in result["msg"]):
        assert after == before
    touched = set(case.get("zeroed", [])) | set(case.get("left", {}))
    assert [name for name in before if name.startswith("dev/") and name[4:] not in touched and after[name] != before[name]] == []
    for name in case.get("zeroed", []):
        assert not after[f"dev/{name}"].strip(b"\0")
    for name, text in case.get("left", {}).items():
        assert after[f"dev/{name}"].strip(b"\0") == text.encode()
    if "warnings_contain" in case:
        assert len(warned) == len(case["warnings_contain"]), warned
        for line, texts in zip(warned, case["warnings_contain"], strict=True):
            assert [text for text in texts if text not in line] == [], line
    for path, text in case.get("after", {}).items():
        assert text in after[path.lstrip("/")].decode()


def test_a_second_run_finds_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run writes into the files is what the next one wants there."""
    cases = {parameter.id: parameter.values[0] for parameter in command_cases.load(Path(__file__).with_name("cases.yml"))}
    first = filled(cases["an array that does not run, the file without it"], WORDS)
    Host(tmp_path, first["given"], monkeypatch)
    command_cases.run("md_array", {**first, "run": commands(first), "output": {"changed": True}})
    second = filled(cases["everything is as it must be"], WORDS)
    command_cases.run("md_array", {**second, "run": commands(second)})
