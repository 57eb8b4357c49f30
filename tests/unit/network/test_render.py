# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rendered files, compared with those in `rendered/` byte by byte, and what must hold of every rendering."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.network_files import FilterModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.network import render
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import check_network
from hypothesis import given
from hypothesis import strategies as st

HERE = Path(__file__).parent
CASES = yaml.safe_load((HERE / "render_cases.yml").read_text())
rendered = FilterModule().filters()["network_files"]


def snapshot(files: dict[str, str]) -> str:
    """All files in one text, as in `rendered/NAME.txt`."""
    return "".join(f"### {path}\n{text}" for path, text in files.items())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_files_are_those_of_the_snapshot(case: dict[str, Any]) -> None:
    assert snapshot(rendered(case["variables"], host="xen01")) == (HERE / "rendered" / f"{case['name']}.txt").read_text()


def test_nothing_described_renders_nothing() -> None:
    assert rendered({}, host="xen01") == {}


def test_bad_input_is_an_error_with_its_reason() -> None:
    with pytest.raises(AnsibleFilterError, match=r"network of xen01: bridge 'br0': port: value 'bond9'"):
        rendered({"network_bridges": [{"name": "br0", "port": "bond9"}]}, host="xen01")


@given(st.text(max_size=40), st.text(max_size=15))
def test_derived_addresses_are_stable_local_and_unicast(host: str, name: str) -> None:
    mac = render.derived_mac(host, name)
    assert mac == render.derived_mac(host, name)
    assert int(mac[:2], 16) & 0b11 == 0b10
    assert check_network([], [], [{"name": "br0", "mac": mac}]) == []


def test_derived_addresses_differ_between_hosts_and_devices() -> None:
    pairs = [(f"xen{host:04d}", name) for host in range(1000) for name in ("bond0", "bond1", "xenbr0", "xenbr1")]
    assert len({render.derived_mac(*pair) for pair in pairs}) == len(pairs)


def test_the_order_of_the_description_does_not_matter_to_the_order_of_files() -> None:
    files = list(rendered(CASES[0]["variables"], host="xen01"))
    assert files == sorted(files)
