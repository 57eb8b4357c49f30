# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files drained.yml and off.yml of an inventory: which hosts are drained, and what was taken from them; which have no power.

Pure; standard library and PyYAML.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

VARIABLE = "estate_drained"
OFF_VARIABLE = "estate_off"
_COMMIT = "# It is a part of the inventory: commit it, so that every checkout knows.\n"
_HEAD = f"""---
# Written by playbooks/drain.yml and playbooks/return.yml (docs/operations.md): hosts that are drained, and the guests that were there.
{_COMMIT}"""
_OFF_HEAD = f"""---
# Written by playbooks/power.yml (docs/operations.md): hosts that were shut down.
{_COMMIT}"""


def parse(text: str) -> dict[str, list[str]]:
    """Host -> guests. Raises ValueError for what these playbooks did not write."""
    try:
        return {host: sorted(map(str, value)) for host, value in _values(text, VARIABLE).items()}
    except TypeError as error:
        raise ValueError(_form(VARIABLE)) from error


def render(hosts: Mapping[str, Iterable[str]]) -> str:
    """The text of the file; empty without any drained host."""
    return _text(_HEAD, VARIABLE, {host: sorted(set(guests)) for host, guests in hosts.items()})


def marked(text: str, host: str, guests: Iterable[str]) -> str:
    """The file with a host drained, and guests besides those that were taken from it before."""
    hosts = parse(text)
    return render({**hosts, host: [*hosts.get(host, ()), *guests]})


def unmarked(text: str, host: str) -> str:
    """The file without a host."""
    return render({name: guests for name, guests in parse(text).items() if name != host})


def switched(text: str, host: str, off: bool) -> str:
    """The file off.yml with a host in it, or without it. Raises ValueError for what the playbook did not write."""
    hosts = {name for name, value in _values(text, OFF_VARIABLE).items() if value is True} - {host}
    return _text(_OFF_HEAD, OFF_VARIABLE, dict.fromkeys(hosts | ({host} if off else set()), True))


def taken(value: Any) -> list[str]:
    """The guests in the variable of a host."""
    return sorted(map(str, value)) if isinstance(value, list | tuple) else []


def _values(text: str, variable: str) -> dict[str, Any]:
    """Host -> its value of the variable."""
    try:
        told = yaml.safe_load(text) if text.strip() else {}
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML ({' '.join(str(error).split())})") from error
    try:
        hosts = ((told or {}).get("xen_hosts") or {}).get("hosts") or {}
        return {str(host): values[variable] for host, values in hosts.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(_form(variable)) from error


def _form(variable: str) -> str:
    return f"it does not have the form xen_hosts, hosts, HOST, {variable}"


def _text(head: str, variable: str, values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    content = {"xen_hosts": {"hosts": {host: {variable: value} for host, value in sorted(values.items())}}}
    return head + yaml.safe_dump(content, default_flow_style=False, sort_keys=False)
