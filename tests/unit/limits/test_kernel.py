# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.limits import kernel

from tests.unit.limits import samples

NAMES = {3: "web01", 4: "web02"}


def test_disks_that_have_a_device_of_guests_that_have_a_name():
    found = kernel.backends(samples.XENSTORE)
    assert kernel.disks(found, NAMES) == (kernel.Disk("web01", 3, "xvda", "253:1"), kernel.Disk("web01", 3, "xvdb", "259:31"))
    assert kernel.disks(found, {4: "web02"}) == ()
    assert kernel.disks({}, NAMES) == ()


def test_networks_that_are_connected():
    found = kernel.backends(samples.XENSTORE)
    first = kernel.Vif("web01", samples.MAC_A, "/local/domain/0/backend/vif/3/0", "vif3.0", "1250000,50000", 2)
    second = kernel.Vif("web02", samples.MAC_B, "/local/domain/0/backend/vif/4/0", "web02-lan", None)
    assert kernel.vifs(found, NAMES, {"vif3.0": 2, "web02-lan": 1, "vif4.1": 1}) == (first, second)
    assert kernel.vifs(found, NAMES, {"web02-lan": 1}) == (second,)


@pytest.mark.parametrize(("comm", "stat", "expected"), [
    ("3.xvda-0\n", "99 (3.xvda-0) S 2 0 0 0", (3, "xvda")),
    ("12.hdc-15\n", "99 (12.hdc-15) S 2 0 0 0", (12, "hdc")),
    ("3.xvda-0\n", "99 (3.xvda-0) S 1 0 0 0", None),
    ("3.xvda-0\n", "99 (3.xvda-0) ) 2 (x) S 1 0 0", None),
    ("3.xvda-0\n", "", None),
    ("kworker/3.1-0\n", "99 (kworker/3.1-0) I 2 0", None),
    ("3.xvda\n", "99 (3.xvda) S 2 0", None),
    ("xenbus-3.xvda-0\n", "99 (x) S 2 0", None),
    ("", "", None),
])
def test_threads_of_blkback(comm, stat, expected):
    assert kernel.thread(comm, stat) == expected


def test_limits_of_a_group():
    assert kernel.io_max("253:1 rbps=max wbps=1048576 riops=20 wiops=max\n8:0 rbps=max wbps=max riops=max wiops=max\n") == {
        "253:1": {"wbps": 1048576, "riops": 20}, "8:0": {}}
    assert kernel.io_max("") == {}


def test_root_qdiscs():
    found = kernel.qdiscs(samples.QDISCS)
    assert sorted(found) == ["bond0", "eth1", "lo", "vif3.0"]
    assert found["vif3.0"] == kernel.Qdisc("tbf", kernel.HANDLE, 625000)
    assert found["bond0"] == kernel.Qdisc("htb", kernel.HANDLE)
    assert found["eth1"] == kernel.Qdisc("mq", "0:")
    assert kernel.qdiscs("") == {}
    with pytest.raises(ValueError, match="Expecting"):
        kernel.qdiscs("no JSON")


def test_the_tree_of_an_uplink():
    assert kernel.tree(samples.CLASSES, samples.FILTERS) == kernel.Tree(
        {0x11: (1234, 1900), 1: (1900, 1900), 0x10: (2000, 1900)}, {samples.MAC_A: 0x10, samples.MAC_B: 0x11})
    assert kernel.tree("", "") == kernel.Tree({}, {})
