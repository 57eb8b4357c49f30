# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module host_info on recorded commands and files, and its parsers on what hosts print."""
from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.xenfold.consolidation.plugins.module_utils.host_state import parse, read
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.modules import host_info

from tests.unit import command_cases

HERE = Path(__file__).parent
SEEN = HERE.parent / "network" / "seen"


def prepare(root: Path, given: dict[str, Any]) -> None:
    files = {**given["files"], **given.get("more", {})}
    files |= {path: (SEEN / name).read_text() for path, name in given.get("seen", {}).items()}
    for path, text in files.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    for name, build in given.get("kernels", {}).items():
        (root / "boot" / name).write_bytes(kernel_image(build))
    for name, build in given.get("xen", {}).items():
        (root / "boot" / name).write_bytes(gzip.compress(b"\x7fELF GNU\0" + bytes.fromhex(build) + b" end"))


@pytest.mark.parametrize("case", command_cases.load(HERE / "cases.yml"))
def test_host_info(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, case["given"])
    monkeypatch.setattr(host_info, "HostState", lambda runner: read.HostState(runner, str(tmp_path)))
    monkeypatch.setattr(Runner, "tool", staticmethod(lambda name: name in case["given"]["tools"]))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = command_cases.run("host_info", {**case, "input": {}})
    told = " | ".join(f"{entry['what']}: {entry['why']}" for entry in result["unasked"])
    assert all(text in told for text in case.get("unasked_contains", [])), told
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in yaml.safe_load((HERE / "mdstat_cases.yml").read_text())])
def test_mdstat(case: dict[str, Any]) -> None:
    assert parse.parse_mdstat(case["text"]) == case["arrays"]


@pytest.mark.parametrize(("listing", "serials"), [
    ("", {}),
    (json.dumps({"blockdevices": [{"name": "sda", "kname": "sda", "type": "disk", "serial": " WD-1 ", "children": [
        {"name": "sda1", "kname": "sda1", "type": "part", "serial": None, "children": [
            {"name": "md0", "kname": "md0", "type": "raid1", "serial": None, "children": [
                {"name": "vg-web", "kname": "dm-0", "type": "lvm", "serial": None}]}]}]}]}),
     {"sda": "WD-1", "sda1": "WD-1"}),
    ('{"blockdevices": [{"kname": "vda", "type": "disk", "serial": null}, {"kname": "vdb", "type": "disk"}]}', {}),
])
def test_serials(listing: str, serials: dict[str, str]) -> None:
    assert parse.parse_serials(listing) == serials


BUILD = "6.1.0-28-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.120-1 (2024-12-01)"


def kernel_image(build: str) -> bytes:
    """The head of an image as the boot protocol has it: a magic word, and where the text stands, counted from byte 0x200."""
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x200).to_bytes(2, "little")
    return bytes(head) + build.encode() + b"\0more"


@pytest.mark.parametrize(("image", "build"), [
    (kernel_image(BUILD), BUILD), (b"", ""), (b"MZ" + b"\0" * 0x400, ""), (kernel_image(BUILD).replace(b"HdrS", b"HdrX"), ""),
    (kernel_image("")[:0x20E] + b"\0\0", ""),
], ids=["an image", "empty", "no image", "another magic", "without a text"])
def test_kernel_build(image: bytes, build: str) -> None:
    assert parse.kernel_build(image) == build


@pytest.mark.parametrize(("release", "version", "text"), [
    ("6.1.0-28-amd64\n", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)\n", "6.1.0-28-amd64 (Debian 6.1.119-1)"),
    ("6.12.0\n", "#1 SMP Mon Nov 2\n", "6.12.0"), ("", "", ""),
])
def test_kernel_text(release: str, version: str, text: str) -> None:
    assert parse.kernel_text(release, version) == text


@pytest.mark.parametrize(("names", "last"), [
    ([], None), (["6.1.0-9-amd64", "6.1.0-28-amd64"], "6.1.0-28-amd64"), (["xen-4.9-amd64.gz", "xen-4.17-amd64.gz"], "xen-4.17-amd64.gz"),
    (["0xa0", "0x90"], "0xa0"), (["0x1000065", "0xa0011d5"], "0xa0011d5"), (["0xb, 0xa0", "0xb, 0x90"], "0xb, 0xa0"),
    (["4.17.5 (build 9)", "4.17.6 (build 1)"], "4.17.6 (build 1)"), (["", "0x"], "0x"),
    (["6.12~rc6-amd64", "6.12.3-amd64"], "6.12.3-amd64"), (["6.12~rc6-amd64", "6.11.10-amd64"], "6.12~rc6-amd64"),
    (["4.20.0-rc4", "4.20.0"], "4.20.0"), (["4.20.0-rc4", "4.20.0-rc10"], "4.20.0-rc10"), (["4.20-rc", "4.20.0"], "4.20.0"),
    (["6.1.119-1~bpo12+1", "6.1.119-1"], "6.1.119-1"),
])
def test_newest(names: list[str], last: str | None) -> None:
    assert parse.newest(names) == last


@pytest.mark.parametrize(("text", "numbers"), [
    ("0x2b000603", (0x2b000603, 0)), ("4.17.7 (build 9e1)", (4, 17, 7, 0)), ("6.1.0-28-amd64", (6, 1, 0, 28, 64, 0)), ("", (0,)),
    ("0x", (0, 0)), ("none", (0,)), ("4.20.0-rc4", (4, 20, 0, -1, 4, 0)),
])
def test_numbers_of(text: str, numbers: tuple[int, ...]) -> None:
    assert parse.numbers_of(text) == numbers


@pytest.mark.parametrize(("text", "found"), [
    ("", {}), ("microcode\t: \n", {}), ("nonsense\n", {}),
    ("model name : B\nmicrocode : 0x2\n\nmodel name : B\nmicrocode : 0x1\n", {"cpu_model": "B", "microcode": "0x1, 0x2"}),
])
def test_cpuinfo(text: str, found: dict[str, str]) -> None:
    assert parse.parse_cpuinfo(text) == found
