# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host with two guests as its kernel and xenstore show it."""
from __future__ import annotations

MAC_A, MAC_B = "00:16:3e:00:00:0a", "00:16:3e:00:00:0b"
XENSTORE = """\
/local/domain/0/backend = ""
/local/domain/0/backend/vbd = ""
/local/domain/0/backend/vbd/3/51712/frontend = "/local/domain/3/device/vbd/51712"
/local/domain/0/backend/vbd/3/51712/params = "/dev/vg_guests/web01-root"
/local/domain/0/backend/vbd/3/51712/dev = "xvda"
/local/domain/0/backend/vbd/3/51712/physical-device = "fd:1"
/local/domain/0/backend/vbd/3/51712/state = "4"
/local/domain/0/backend/vbd/3/51728/dev = "xvdb"
/local/domain/0/backend/vbd/3/51728/physical-device = "103:1f"
/local/domain/0/backend/vbd/4/51712/dev = "xvda"
/local/domain/0/backend/vbd/4/51712/state = "1"
/local/domain/0/backend/vif/3/0/mac = "00:16:3E:00:00:0A"
/local/domain/0/backend/vif/3/0/bridge = "xenbr0"
/local/domain/0/backend/vif/3/0/state = "4"
/local/domain/0/backend/vif/3/0/rate = "1250000,50000"
/local/domain/0/backend/vif/4/0/mac = "00:16:3e:00:00:0b"
/local/domain/0/backend/vif/4/0/vifname = "web02-lan"
/local/domain/0/backend/vif/4/0/state = "4"
/local/domain/0/backend/vif/4/1/mac = "00:16:3e:00:00:0c"
/local/domain/0/backend/vif/4/1/state = "2"
/local/domain/0/backend/console/3/0/state = "1"
"""
QDISCS = """\
[{"kind":"noqueue","handle":"0:","dev":"lo","root":true,"refcnt":2,"options":{}},
{"kind":"htb","handle":"584e:","dev":"bond0","root":true,"refcnt":3,"options":{"r2q":10,"default":"0x2","direct_qlen":1000}},
{"kind":"mq","handle":"0:","dev":"eth1","root":true,"options":{}},{"kind":"pfifo_fast","handle":"0:","dev":"eth1","parent":":1"},
{"kind":"tbf","handle":"584e:","dev":"vif3.0","root":true,"refcnt":3,"options":{"rate":625000,"burst":32767,"lat":50000}}]
"""
CLASSES = """\
class htb 584e:11 parent 584e:1 leaf 8002: prio 0 rate 1234Mbit ceil 1900Mbit burst 308500b cburst 475000b
class htb 584e:1 root rate 1900Mbit ceil 1900Mbit burst 475000b cburst 475000b
class htb 584e:10 parent 584e:1 prio 0 rate 2Gbit ceil 1900000Kbit burst 65512b cburst 475000b
"""
FILTERS = """\
[{"protocol":"all","pref":1,"kind":"flower","chain":0},
{"protocol":"all","pref":1,"kind":"flower","chain":0,
"options":{"handle":1,"classid":"584e:10","keys":{"src_mac":"00:16:3e:00:00:0a"},"not_in_hw":true}},
{"protocol":"all","pref":1,"kind":"flower","chain":0,
"options":{"handle":2,"classid":"584e:11","keys":{"src_mac":"00:16:3E:00:00:0B"},"not_in_hw":true}}]
"""
