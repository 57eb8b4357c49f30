# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The file drained.yml of an inventory: which hosts are drained, and what was taken from them. Pure; standard library and PyYAML."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

VARIABLE = "estate_drained"
_HEAD = """---
# Written by playbooks/drain.yml and playbooks/return.yml (docs/operations.md): hosts that are drained, and the guests that were there.
# It is a part of the inventory: commit it, so that every checkout knows.
"""


def parse(text: str) -> dict[str, list[str]]:
    """Host -> guests. Raises ValueError for what these playbooks did not write."""
    try:
        told = yaml.safe_load(text) if text.strip() else {}
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML ({' '.join(str(error).split())})") from error
    try:
        hosts = ((told or {}).get("xen_hosts") or {}).get("hosts") or {}
        return {str(host): sorted(map(str, values[VARIABLE])) for host, values in hosts.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"it does not have the form xen_hosts, hosts, HOST, {VARIABLE}") from error


def render(hosts: Mapping[str, Iterable[str]]) -> str:
    """The text of the file; empty without any drained host."""
    if not hosts:
        return ""
    content = {"xen_hosts": {"hosts": {host: {VARIABLE: sorted(set(guests))} for host, guests in sorted(hosts.items())}}}
    return _HEAD + yaml.safe_dump(content, default_flow_style=False, sort_keys=False)


def marked(text: str, host: str, guests: Iterable[str]) -> str:
    """The file with a host drained, and guests besides those that were taken from it before."""
    hosts = parse(text)
    return render({**hosts, host: [*hosts.get(host, ()), *guests]})


def unmarked(text: str, host: str) -> str:
    """The file without a host."""
    return render({name: guests for name, guests in parse(text).items() if name != host})


def taken(value: Any) -> list[str]:
    """The guests in the variable of a host."""
    return sorted(map(str, value)) if isinstance(value, list | tuple) else []
