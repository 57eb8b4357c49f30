# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""dom0's packet filter: what is rendered, how the live one is compared, and that nobody is locked out."""
from __future__ import annotations

import ipaddress
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.pool_addresses import _pool_addresses
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import firewall
from hypothesis import given
from hypothesis import strategies as st

WANTED = firewall.Firewall(
    enabled=True, ssh_from=("10.1.0.0/24", "fd00::/64", "10.1.0.128/25"), migration_from=("pool", "10.9.9.9"),
    allow=({"protocol": "tcp", "ports": ["7795", "7788", "7790-7799"], "from": ["10.9.0.0/16", "fd00::1"]},),
    pool_addresses=("10.9.0.3", "10.9.0.2"),
)
CLIENT = firewall.Client(ipaddress.ip_address("10.1.0.7"), 22)
WAYS = [
    "ct state established,related", 'iifname "lo"', "meta l4proto { icmp, ipv6-icmp }", "udp sport 67 udp dport 68",
    "ip6 saddr fe80::/10 udp sport 547 udp dport 546",
    "ip saddr { 10.1.0.0/24, 10.9.0.2/31, 10.9.9.9 } tcp dport { 22 }",
    "ip6 saddr { fd00::/64 } tcp dport { 22 }",
    "ip saddr { 10.9.0.0/16 } tcp dport { 7788, 7790-7799 }",
    "ip6 saddr { fd00::1 } tcp dport { 7788, 7790-7799 }",
]


def live(wanted: firewall.Firewall, **chain: Any) -> str:
    """What `nft -j list table inet xenfold` of nftables 1.0.6 says of the rules, as far as it is looked at."""
    rules: list[dict[str, Any]] = [{"rule": {"handle": 3, "comment": mark, "expr": []}} for mark in firewall.rule_marks(wanted)]
    entries = [{"metainfo": {"version": "1.0.6"}}, {"table": {"name": "xenfold"}},
               {"chain": {"name": "input", "hook": "input", "prio": 0, "policy": "drop", **chain}}, *rules]
    return json.dumps({"nftables": entries})


def test_the_rules_in_order_without_overlaps():
    rules, unit = firewall.files(WANTED)
    lines = [line.strip() for line in rules.content.splitlines() if " accept comment " in line]
    assert [line.partition(" accept comment ")[0] for line in lines] == WAYS
    assert rules.content.count("{") == rules.content.count("}")
    # One exchange: the table is made if it is not there, deleted, made anew.
    assert rules.content.index(firewall.REMOVAL) < rules.content.index("table inet xenfold {")
    assert "forward" not in rules.content and "flush ruleset" not in rules.content
    assert f"ExecStart=/usr/sbin/nft -f {rules.path}\n" in unit.content
    assert "ExecStop" not in unit.content
    assert firewall.files(WANTED) == firewall.files(WANTED)


def test_pool_stands_for_the_addresses_of_the_pool_alone_where_it_is_said():
    assert "10.9.0.2" not in firewall.files(replace(WANTED, migration_from=()))[0].content
    assert firewall.files(replace(WANTED, enabled=False)) == []


@pytest.mark.parametrize(("change", "texts"), [
    ({"ssh_from": ()}, ["firewall.ssh_from: value [], allowed one or more networks such as 10.0.0.0/24"]),
    ({"ssh_from": ("10.0.0.1/24",)}, ["firewall.ssh_from[0]: value '10.0.0.1/24', allowed networks such as"]),
    ({"ssh_from": ("10.0.0.0/8", "pool")}, ["firewall.ssh_from[1]: value 'pool', allowed networks"]),
    ({"ssh_from": ("fe80::1%} accept",)}, ["firewall.ssh_from[0]: value 'fe80::1%} accept', allowed networks"]),
    ({"ssh_from": (10,)}, ["firewall.ssh_from[0]: value 10, allowed networks"]),
    ({"migration_from": ("pools",)}, ["firewall.migration_from[0]: value 'pools', allowed networks such as", "or 'pool'"]),
    ({"ssh_port": 0}, ["firewall.ssh_port: value 0, allowed a whole number, 1 to 65535"]),
    ({"allow": (3,)}, ["firewall.allow[0]: value 3, allowed keys protocol, ports, from"]),
    ({"allow": ({"protocol": "tcp", "ports": [1], "from": ["::/0"], "to": 1},)}, ["firewall.allow[0].to: value 1, allowed keys"]),
    ({"allow": ({"protocol": "sctp", "ports": [1], "from": ["::/0"]},)}, ["allow[0].protocol: value 'sctp', allowed tcp, udp"]),
    ({"allow": ({"protocol": "tcp", "ports": [], "from": ["::/0"]},)}, ["allow[0].ports: value [], allowed one or more"]),
    ({"allow": ({"protocol": "tcp", "ports": ["9-2"], "from": ["::/0"]},)}, ["allow[0].ports[0]: value '9-2', allowed"]),
    ({"allow": ({"protocol": "tcp", "ports": [True], "from": ["::/0"]},)}, ["allow[0].ports[0]: value True, allowed"]),
    ({"allow": ({"protocol": "tcp", "ports": ["65536"], "from": ["::/0"]},)}, ["allow[0].ports[0]: value '65536', allowed"]),
    ({"allow": ({"protocol": "tcp", "ports": ["22; accept"], "from": ["::/0"]},)}, ["ports[0]: value '22; accept', allowed"]),
    ({"allow": ({"protocol": "udp", "ports": [53], "from": ["all"]},)}, ["allow[0].from[0]: value 'all', allowed one or more networks"]),
])
def test_bad_settings_are_named_with_what_is_allowed(change, texts):
    errors = firewall.check(replace(WANTED, **change))
    assert len(errors) == 1
    assert all(text in errors[0] for text in texts), errors
    assert firewall.check(replace(WANTED, **change, enabled=False)) == []


def test_good_settings_pass():
    assert firewall.check(WANTED) == []


@given(st.lists(st.ip_addresses().map(str) | st.sampled_from(["10.0.0.0/8", "10.2.0.0/16", "::/0", "fd00::/48"]), min_size=1, max_size=6))
def test_whoever_is_named_is_let_in(values):
    wanted = firewall.Firewall(True, ssh_from=tuple(values))
    assert firewall.check(wanted) == []
    for value in values:
        address = ipaddress.ip_network(value).network_address
        assert firewall.obstacles(wanted, firewall.Client(address, 22)) == []


@pytest.mark.parametrize(("text", "same"), [
    (live(WANTED), True),
    (live(WANTED, policy="accept"), False),
    (live(WANTED, hook="forward"), False),
    (live(replace(WANTED, ssh_port=2222)), False),
    (live(WANTED).replace('"comment"', '"handle2"', 1), False),
    (live(WANTED)[:-2] + ', {"rule": {"expr": []}}]}', False),
    (live(WANTED).replace('"name": "xenfold"', '"name": "xenfold", "flags": ["dormant"]'), False),
    (live(WANTED).replace('"name": "xenfold"', '"name": "xenfold", "flags": "dormant"'), False),
    (live(WANTED).replace('"name": "xenfold"', '"name": "xenfold", "flags": []'), True),
    ("", False), ("{}", False), ("[]", False), ('{"nftables": []}', False),
])
def test_the_live_rules_are_compared_as_a_whole(text, same):
    assert (firewall.live_marks(text) == firewall.rule_marks(WANTED)) is same


@pytest.mark.parametrize(("environment", "client"), [
    ("A=1\0SSH_CONNECTION=10.1.0.7 41000 10.9.0.1 22\0", CLIENT),
    ("SSH_CONNECTION=::ffff:10.1.0.7 41000 ::ffff:10.9.0.1 22\0", CLIENT),
    ("SSH_CONNECTION=fe80::1%xenbr0 41000 fe80::2%xenbr0 2222", firewall.Client(ipaddress.ip_address("fe80::1"), 2222)),
    ("SSH_CONNECTION=\0", None), ("SSH_CONNECTION=a 1 b 22\0", None), ("XSSH_CONNECTION=10.1.0.7 1 10.9.0.1 22\0", None), ("", None),
])
def test_the_connection_of_a_process(environment, client):
    assert firewall.client_in(environment) == client


def test_the_connection_is_found_above_sudo(tmp_path: Path):
    for pid, parent, environment in ((40, 30, "A=1\0"), (30, 20, ""), (20, 1, "SSH_CONNECTION=10.1.0.7 41000 10.9.0.1 22\0"), (7, 1, "")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "environ").write_text(environment)
        (tmp_path / str(pid) / "status").write_text(f"Name:\tx\nPid:\t{pid}\nPPid:\t{parent}\n")
    assert firewall.find_client(tmp_path, 40) == CLIENT
    assert firewall.find_client(tmp_path, 7) is None
    assert firewall.find_client(tmp_path, 99) is None


@pytest.mark.parametrize(("change", "client", "text"), [
    ({}, None, "firewall.enabled: value True, allowed over SSH alone"),
    ({}, firewall.Client(ipaddress.ip_address("10.2.0.7"), 22),
     "ssh_from: value 10.1.0.0/24, fd00::/64, 10.1.0.128/25, allowed networks that contain 10.2.0.7, from which this very connection"),
    ({"ssh_port": 2222}, CLIENT, "firewall.ssh_port: value 2222, allowed 22, the port of this very connection"),
    ({}, CLIENT, ""),
    ({}, firewall.Client(ipaddress.ip_address("10.9.0.2"), 22), ""),
    ({"migration_from": ()}, firewall.Client(ipaddress.ip_address("10.9.0.2"), 22), "allowed networks that contain 10.9.0.2"),
    ({"enabled": False}, None, ""),
])
def test_nobody_is_locked_out(change, client, text):
    found = firewall.obstacles(replace(WANTED, **change), client)
    assert len(found) == bool(text)
    assert not text or text in found[0]


HOSTS: dict[str, Any] = {
    "xen01": {"estate_host": {"pool": "a"}, "ansible_host": "10.1.0.1"},
    "xen02": {"estate_host": {"pool": "a"}, "ansible_host": "xen02.example.org",
              "network_bridges": [{"name": "xenbr0", "addresses": ["10.9.0.2/24", "fd00::2/64"]}, {"name": "xenbr1"}]},
    "xen03": {"estate_host": {"pool": "a"}, "ansible_host": "10.1.0.3", "network_vlans": [{"addresses": ["10.9.0.3/24"]}]},
    "xen04": {"estate_host": {"pool": "b"}, "ansible_host": "10.1.0.4"},
    "xen05": {"ansible_host": "10.1.0.5"},
    "xen06": {"estate_host": {"pool": "default"}, "ansible_host": "10.1.0.6"},
    "10.1.0.7": {"estate_host": {"pool": ""}},
}


@pytest.mark.parametrize(("host", "addresses"), [
    ("xen01", ["10.1.0.3", "10.9.0.2", "10.9.0.3", "fd00::2"]), ("xen02", ["10.1.0.1", "10.1.0.3", "10.9.0.3"]), ("xen04", []),
    # Without a pool a host is of the same one as for the planner. A name may be an address.
    ("xen05", ["10.1.0.6", "10.1.0.7"]), ("xen06", ["10.1.0.5", "10.1.0.7"]), ("10.1.0.7", ["10.1.0.5", "10.1.0.6"]),
])
def test_addresses_of_a_pool(host, addresses):
    assert _pool_addresses(HOSTS, host, [*HOSTS]) == addresses
    assert _pool_addresses(HOSTS, host, [*reversed(HOSTS)]) == addresses


@pytest.mark.parametrize(("change", "hosts", "text"), [
    ({"xen02": {"estate_host": {"pool": "a"}, "ansible_host": "xen02"}}, ["xen01", "xen02"],
     "host 'xen02': network_bridges: no addresses, allowed one or more, or ansible_host as an address"),
    ({"xen02": {"estate_host": {"pool": "a"}, "network_bridges": 3}}, ["xen02"], "do not hold together"),
    ({"xen02": {"estate_host": {"pool": "a"}}}, ["xen02"], "host 'xen02': network_bridges: no addresses"),
    ({"10.1.0.8": {"estate_host": {"pool": "a"}, "ansible_host": "xen08"}}, ["10.1.0.8"], "host '10.1.0.8': network_bridges: no addresses"),
    ({}, ["xen09"], "do not hold together"),
    ({}, "xen02", "allowed the variables of all hosts"),
])
def test_bad_input_of_the_filter(change, hosts, text):
    with pytest.raises(AnsibleFilterError, match="pool_addresses: ") as caught:
        _pool_addresses(HOSTS | change, "xen01", hosts)
    assert text in str(caught.value)
