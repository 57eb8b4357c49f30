# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The programs that move disks, run for real against each other, over pipes in the place of SSH. Regular files stand in for volumes (so the
page cache is not bypassed here), and small scripts for LVM and xl, which keep their state in files."""
from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import volume_receive, volume_send

from tests.unit.moves.samples import uuid_of

ROOT = Path(__file__).parents[3]
BLOCK = volume_receive.BLOCK
UUID = uuid_of("disk01")

LVM = '''#!{python}
"""A false LVM: volumes are files, their tags lie in a file."""
import json, os, sys
folder, state = {folder!r}, {folder!r} + "/tags.json"
tags = json.load(open(state))
verb, words = os.path.basename(sys.argv[0]), sys.argv[1:]
open({log!r}, "a").write(verb + " " + " ".join(words) + "\\n")
if os.path.exists(folder + "/fail-" + verb):
    sys.exit("no " + verb)
if verb == "lvs":
    rows = [dict(vg_name="vg0", lv_name=name, lv_size=str(os.path.getsize(folder + "/vg0/" + name)), lv_tags=",".join(found),
                 lv_device_open="") for name, found in tags.items()]
    print(json.dumps(dict(report=[dict(lv=rows)])))
elif verb == "lvchange":
    own = tags[words[-1].split("/")[1]]
    for option, tag in zip(words[:-1:2], words[1:-1:2]):
        own.append(tag) if option == "--addtag" else own.remove(tag)
elif verb == "lvrename":
    os.rename(folder + "/vg0/" + words[1], folder + "/vg0/" + words[2])
    tags[words[2]] = tags.pop(words[1])
json.dump(tags, open(state, "w"))
'''
XL = '''#!/bin/sh
echo "xl $*" >> {log}
case "$1" in
list) echo "Name ID Mem VCPUs State Times UUID Reason-Code"
      test ! -e {folder}/runs || echo "disk01 5 128 1 -b---- 7.5 {uuid} - -" ;;
shutdown) test ! -e {folder}/stubborn || exit 124
      test ! -e {folder}/last-write || cat {folder}/last-write > {folder}/vg0/disk01-root
      test ! -e {folder}/reboots || {{ echo "Domain 5 has been shut down, reason code 1"; exit 0; }}
      rm -f {folder}/runs; echo "Domain 5 has been shut down, reason code 0" ;;
create) test ! -e {folder}/does-not-start || {{ echo "no memory" >&2; exit 1; }}
      touch {folder}/runs ;;
esac
'''


# In the place of a scope of systemd's.
SCOPE = """#!/bin/sh
echo "systemd-run $*" >> {log}
while test "${{1#--}}" != "$1"; do shift; done
exec "$@"
"""


class Host:
    """A false host: its volumes, commands and log."""

    def __init__(self, folder):
        self.folder, self.log = folder, folder / "log"
        (folder / "vg0").mkdir(parents=True)
        (folder / "bin").mkdir()
        self.log.write_text("")
        self.tags({})
        script = LVM.format(python=sys.executable, folder=str(folder), log=str(self.log))
        for name in ("lvs", "lvchange", "lvrename"):
            self.script(name, script)
        self.script("xl", XL.format(folder=folder, log=self.log, uuid=UUID))
        self.script("systemd-run", SCOPE.format(log=self.log))

    def script(self, name, text):
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def tags(self, tags):
        (self.folder / "tags.json").write_text(json.dumps(tags))

    def told(self):
        return json.loads((self.folder / "tags.json").read_text())

    def volume(self, name, data):
        (self.folder / "vg0" / name).write_bytes(data)
        self.tags({**self.told(), name: []})

    def read(self, name):
        return (self.folder / "vg0" / name).read_bytes()

    def has(self, name, *more):
        (self.folder / name).write_bytes(*more or (b"",))


RECEIVER = """
import os, sys
sys.path[:0] = [{collections!r}]
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import volume_receive as wire
wire.DEVICES, wire.LOCKS = {folder!r}, {folder!r} + "/locks"
wire._ENVIRONMENT = dict(PATH={folder!r} + "/bin:" + os.environ["PATH"], LC_ALL="C.UTF-8")
wire.IDLE_SECONDS = 20
with open(0, "rb", buffering=0) as stream:
    sys.exit(wire.main(["volume_receive.py", "xen01"], sys.argv[1], stream, sys.stdout.buffer))
"""
SENDER = """
import os, sys
sys.path[:0] = [{collections!r}]
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import volume_receive as wire, volume_send as send
wire.DEVICES, send.CREATING = {folder!r}, {folder!r} + "/creating"
os.environ["PATH"] = {folder!r} + "/bin:" + os.environ["PATH"]
wire._ENVIRONMENT = dict(PATH=os.environ["PATH"], LC_ALL="C.UTF-8")
send._GONE_SECONDS = 2
{more}
sys.exit(send.main(sys.argv[1]))
"""


class Pair:
    """Two hosts, and the journal of a move of disk01 from one to the other."""

    def __init__(self, folder):
        self.source, self.target = Host(folder / "xen01"), Host(folder / "xen02")
        self.moves = folder / "moves"
        self.moves.mkdir()
        self.link = folder / "10-disk01"
        self.link.write_text("")
        self.data = {"disk01-root": os.urandom(BLOCK) + bytes(2 * BLOCK) + os.urandom(BLOCK // 2), "disk01-data": bytes(BLOCK)}
        for name, data in self.data.items():
            self.source.volume(name, data)
            # What an earlier volume has left in the extents.
            self.target.volume(f"{name}.coming", b"old!" * (len(data) // 4))
        self.target.tags({f"{name}.coming": ["xenfold.coming=disk01:xen01"] for name in self.data})
        self.source.has("runs")
        (folder / "controller").write_text("")
        self.receiver = folder / "receive.py"
        self.receiver.write_text(RECEIVER.format(collections=str(ROOT / "collections"), folder=str(self.target.folder)))
        self.journal = {
            "guest": "disk01", "uuid": UUID, "step": 1, "run": "r", "from": "xen01", "to": "xen02", "phase": "moving", "kind": "offline",
            "stage": "copying", "command": [sys.executable, str(self.receiver)], "config": "/etc/xen/guests/disk01.cfg",
            "volumes": [{"volume_group": "vg0", "name": name, "size_bytes": len(data), "fresh": False} for name, data in self.data.items()],
            "forget": [str(self.link)], "log": str(self.moves / "disk01.log"), "progress": str(self.moves / "disk01.progress"),
            "alive": str(folder / "controller"), "alive_seconds": 60, "mibps": 0, "shutdown_seconds": 5,
        }

    def go(self, more="", **changes):
        """Code, what the journal says afterwards, and the log."""
        path = self.moves / "disk01.json"
        path.write_text(json.dumps({**self.journal, **changes}))
        program = self.moves / "send.py"
        program.write_text(SENDER.format(collections=str(ROOT / "collections"), folder=str(self.source.folder), more=more))
        code = subprocess.run([sys.executable, str(program), str(path)], timeout=60, check=False).returncode
        return code, json.loads(path.read_text()), (self.moves / "disk01.log").read_text()

    @property
    def runs(self):
        return (self.source.folder / "runs").exists()

    def stayed(self):
        """It runs on the source from its volumes, whose data is whole."""
        return self.runs and self.source.told() == {name: [] for name in self.data} and self.link.exists()


@pytest.fixture(name="pair")
def _pair(tmp_path):
    return Pair(tmp_path)


@pytest.mark.parametrize("fresh", [False, True])
def test_a_guest_is_handed_over_with_equal_disks(pair, fresh):
    for volume in pair.journal["volumes"]:
        volume["fresh"] = fresh
    # What the guest writes while it shuts down, after the first pass.
    last = pair.data["disk01-root"][:-BLOCK // 2] + os.urandom(BLOCK // 2)
    pair.source.has("last-write", last)
    code, journal, log = pair.go()
    assert (code, journal["phase"], journal["stage"], journal["code"]) == (0, "ended", "given", 0), log
    assert not pair.runs
    for name, data in {**pair.data, "disk01-root": last}.items():
        assert pair.target.read(f"{name}.coming") == data
        assert pair.source.read(f"{name}.moved") == data
    assert pair.target.told() == {f"{name}.coming": ["xenfold.complete=disk01:xen01"] for name in pair.data}
    assert all(re.fullmatch(r"xenfold.moved=disk01:xen02:[0-9]{8}T[0-9]{6}Z", tags[0]) for tags in pair.source.told().values())
    assert not pair.link.exists()
    # While it was down, only the block that differed went over the line.
    assert journal["sent_bytes"] == BLOCK // 2
    assert json.loads((pair.moves / "disk01.progress").read_text())["pass"] == "comparison"
    assert not list((pair.source.folder / "creating").iterdir())


def test_zeroes_are_not_sent_and_a_second_pass_sends_what_differs(pair):
    """Of the first pass: all that is not zero, and nothing that is there."""
    code, _journal, log = pair.go(more="""
go_through = send.Mover.go_through
def shown(self, channel, name, limit=False):
    roots = go_through(self, channel, name, limit)
    self.say(f"{name}: {self.progress['sent_bytes']}")
    return roots
send.Mover.go_through = shown
""")
    assert code == 0, log
    assert f"first: {BLOCK + BLOCK // 2}\n" in log
    assert "second: 0\n" in log


@pytest.mark.parametrize(("happens", "code", "stage", "text"), [
    ("stubborn", 1, "down", "it did not shut down in 5 s and was left running"),
    ("reboots", 1, "down", "it ended with reason 1 of xl"),
])
def test_one_that_does_not_shut_down_is_left_running(pair, happens, code, stage, text):
    pair.source.has(happens)
    found, journal, log = pair.go()
    assert (found, journal["stage"]) == (code, stage)
    assert text in log
    assert pair.stayed()
    assert "create" not in pair.source.log.read_text()


BREAK = {
    "the way breaks in the second pass": 'if name == "second": channel.process.kill()',
    "the target's disk does not keep what was written": 'if name == "second": open({target}, "r+b").write(b"bad")',
    "the controller dies": 'if name == "second": os.utime(self.journal["alive"], (0, 0))',
    "somebody starts it by hand": 'if name == "second": open({runs}, "w")',
    "somebody writes to its volume": 'if name == "second": os.utime({source}, (0, 0))',
    "the unit is stopped": 'if name == "second": os.kill(os.getpid(), 15)',
    "the receiver hangs": 'if name == "second": send.ANSWER_SECONDS = 1; os.kill(channel.process.pid, 19)',
}
SAID = {
    "the way breaks in the second pass": "the receiver ended",
    "the target's disk does not keep what was written": "volume disk01-root differs on xen02",
    "the controller dies": "no controller waits for it any more",
    "somebody starts it by hand": "somebody started it here, or wrote to its volumes",
    "somebody writes to its volume": "somebody started it here, or wrote to its volumes",
    "the unit is stopped": "it was told to end",
    "the receiver hangs": "the receiver did nothing for 1 s",
}


@pytest.mark.parametrize("what", BREAK)
def test_whatever_fails_while_it_is_down_starts_it_again_here(pair, what):
    places = {"target": repr(str(pair.target.folder / "vg0" / "disk01-root.coming")), "runs": repr(str(pair.source.folder / "runs")),
              "source": repr(str(pair.source.folder / "vg0" / "disk01-root"))}
    code, _journal, log = pair.go(more=f"""
go_through = send.Mover.go_through
def broken(self, channel, name, limit=False):
    roots = go_through(self, channel, name, limit)
    {BREAK[what].format(**places)}
    return roots
send.Mover.go_through = broken
""")
    assert code == 1, log
    assert SAID[what] in log
    assert pair.stayed()
    # The xl that watches over it is no part of the unit of the move, which could not begin again as long as that runs.
    if what != "somebody starts it by hand":
        assert re.search(r"systemd-run --quiet --scope --collect flock .* xl create /etc/xen/guests/", pair.source.log.read_text())
    # And nothing on the target counts as complete, unless it is.
    assert all("coming" in tags[0] for tags in pair.target.told().values()) or what.startswith("somebody")


def test_a_full_disk_does_not_keep_it_from_being_started_again(pair):
    """Neither progress nor journal nor log can be written any more."""
    code, _journal, _log = pair.go(more="""
go_through = send.Mover.go_through
def full(*_words, **_more):
    raise OSError(28, "No space left on device")
class Full:
    write = flush = staticmethod(full)
    def fileno(self):
        return 2
def broken(self, channel, name, limit=False):
    roots = go_through(self, channel, name, limit)
    if name == "second":
        self.journal["progress"] = "/proc/none"
        send.write, self.log = full, Full()
    return roots
send.Mover.go_through = broken
""")
    assert code == 1
    assert pair.stayed()


def test_a_sign_of_life_from_the_future_is_none(pair):
    """The clock was set back, and nobody has given one since."""
    os.utime(pair.journal["alive"], (2**31, 2**31))
    code, _journal, log = pair.go()
    assert (code, pair.runs) == (4, True), log


def test_one_that_cannot_be_started_again_is_told_as_down(pair):
    pair.source.has("does-not-start")
    pair.target.has("fail-lvchange")
    code, journal, log = pair.go()
    assert (code, journal["stage"], pair.runs) == (2, "back", False)
    assert "no lvchange" in log
    assert "it could not be started here again: xl create ended with 1" in log


def test_without_a_controller_it_is_not_shut_down(pair):
    os.utime(pair.journal["alive"], (0, 0))
    code, journal, log = pair.go()
    assert (code, journal["stage"], pair.runs) == (4, "copying", True)
    assert "no controller waits for it" in log
    # The first pass is done, and the next run has only what differs.
    assert pair.target.read("disk01-root.coming") == pair.data["disk01-root"]


def test_a_hand_over_cannot_fail_half_way_back(pair):
    """After the first rename the guest is the target's, whatever follows."""
    code, journal, log = pair.go(more="""
renamed = []
run = send.run
def once(argv):
    if argv[0] == "lvrename":
        renamed.append(argv)
        if len(renamed) > 1:
            raise wire.Refusal("LVM is broken")
    return run(argv)
send.run = once
""")
    assert (code, journal["stage"], pair.runs) == (3, "given", False), log
    assert sorted(pair.source.told()) == ["disk01-data", "disk01-root.moved"]
    assert "create" not in pair.source.log.read_text()


def test_a_hand_over_is_not_cut_off_when_the_unit_is_stopped(pair):
    """A command of LVM that is killed in the middle may leave a volume suspended."""
    code, journal, log = pair.go(more="""
run = send.run
def stopped(argv):
    if argv[0] == "lvrename":
        os.kill(os.getpid(), 15)
    return run(argv)
send.run = stopped
""")
    assert (code, journal["stage"], journal["phase"], pair.runs) == (0, "given", "ended", False), log
    assert sorted(pair.source.told()) == ["disk01-data.moved", "disk01-root.moved"]


def test_a_stop_while_it_is_started_again_is_written_down(pair):
    pair.target.has("fail-lvchange")
    code, journal, log = pair.go(more="""
def stopped(self):
    os.kill(os.getpid(), 15)
send.Mover.start_again = stopped
""")
    assert (code, journal["phase"], journal["code"]) == (2, "ended", 2), log
    assert "it could not be started here again: it was told to end" in log


def test_one_that_reboots_instead_is_not_started_beside_the_xl_that_does_so(pair):
    """Between the old domain and the new one there is none."""
    runs = pair.source.folder / "runs"
    pair.source.script("xl", f"""#!/bin/sh
echo "xl $*" >> {pair.source.log}
case "$1" in
list) echo "Name ID Mem VCPUs State Times UUID Reason-Code"
      test ! -e {runs} || echo "disk01 5 128 1 -b---- 7.5 {UUID} - -" ;;
shutdown) rm {runs}; (sleep 1; touch {runs}) > /dev/null 2>&1 & echo "Domain 5 has been shut down, reason code 1" ;;
esac
""")
    code, _journal, log = pair.go()
    assert code == 1, log
    assert pair.stayed()
    assert "create" not in pair.source.log.read_text()


@pytest.mark.parametrize(("state", "code"), [("-b----", 0), ("--p---", 1)])
def test_a_lock_of_a_creation_that_was_cut_off_is_no_hindrance_once_it_runs(pair, state, code):
    """The xl that watches over the guest has inherited it. One that is paused may be in the middle of its creation."""
    folder = pair.source.folder / "creating"
    folder.mkdir()
    with open(folder / "disk01", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found, journal, log = pair.go(more=f"""
domains = send.Mover.domains
send.Mover.domains = lambda self: [[*row[:4], {state!r}, *row[5:]] for row in domains(self)]
""")
    assert found == code, log
    assert ("another run is just creating it" in log, journal["stage"]) == ((True, "copying") if code else (False, "given"))


def test_one_that_is_started_between_the_looks_gets_its_disk_back(pair):
    runs = str(pair.source.folder / "runs")
    code, _journal, log = pair.go(more=f"""
run = send.run
def started(argv):
    told = run(argv)
    if argv[0] == "lvrename" and argv[-1].endswith(".moved"):
        open({runs!r}, "w")
    return told
send.run = started
""")
    assert code == 1, log
    assert "somebody started it here at the last moment" in log
    assert pair.stayed()


def test_the_limit_of_the_first_pass(pair, monkeypatch):
    slept = []
    monkeypatch.setattr(volume_send.time, "sleep", slept.append)
    monkeypatch.setattr(volume_send.time, "monotonic", lambda: 100.0)
    path = pair.moves / "disk01.json"
    path.write_text(json.dumps({**pair.journal, "mibps": 2}))
    with open(os.devnull, "wb") as log:
        mover = volume_send.Mover(str(path), log)
    mover.began, mover.progress["done_bytes"] = 99.0, 4 * 2**20
    mover.pace(limit=True)
    mover.pace(limit=False)
    assert slept == [1.0]


# The receiver by itself

def ask(pair, command, data=b""):
    done = subprocess.run([sys.executable, str(pair.receiver), command], input=data, capture_output=True, timeout=30, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("command", [
    "", "fill", "fill disk01 x", "fill ../x", "fill disk01; reboot", "fill Disk01", "xl list", "fill disk01--incoming", "fill  disk01"])
def test_it_does_nothing_but_what_it_is_for(pair, command):
    code, out = ask(pair, command)
    assert code == 1
    assert b"allowed 'ready', and 'fill' with the name of a guest" in out
    assert ask(pair, "ready") == (0, b"xenfold volume receiver ready\n")


@pytest.mark.parametrize("tags", [[], ["xenfold.complete=disk01:xen01"], ["xenfold.coming=disk01:xen03"], ["xenfold.coming=web01:xen01"],
                                  ["xenfold.filling"]])
def test_no_volume_is_opened_that_is_not_being_filled_by_this_peer_for_this_guest(pair, tags):
    pair.target.tags({name: list(tags) for name in pair.target.told()})
    code, out = ask(pair, "fill disk01")
    assert code == 1
    assert b"no volume here is tagged as being filled for it by xen01" in out


def test_a_tag_alone_does_not_open_a_guest_s_own_volume(pair):
    pair.target.volume("disk01-swap", b"x" * BLOCK)
    pair.target.tags({"disk01-swap": ["xenfold.coming=disk01:xen01"]})
    assert ask(pair, "fill disk01")[0] == 1


def request(verb, number=0, offset=0, length=0):
    return volume_receive.REQUEST.pack(verb, number, offset, length)


@pytest.mark.parametrize(("data", "text"), [
    (request(b"X"), "request b'X': allowed H, W, Z, S and C"),
    (request(b"W", 7, 0, 4), "volume 7: allowed 0 to 1"),
    (request(b"W", 0, 1, 4), "4 bytes at 1: allowed are"),
    (request(b"W", 0, 0, BLOCK + 1), "at 0: allowed are"),
    (request(b"H", 0, 0, BLOCK * 65), "at 0: allowed are"),
    (request(b"Z", 0, 2**62, BLOCK), "allowed are"),
    (request(b"W", 1, BLOCK * 64, BLOCK), "allowed are"),
    (request(b"H", 0, 0, 0), "0 bytes at 0"),
    (request(b"W", 0, 0, 8) + b"four", "the stream ended in the middle of a request"),
    (request(b"W", 0, 0, 8), "the stream ended before a block"),
    (request(b"W")[:5], "the stream ended in the middle"),
    (request(b"C", length=64) + bytes(64), "is not equal to that of the sender"),
    (request(b"C", length=32) + bytes(32), "32 bytes of hashes: allowed 64"),
    (request(b"C", length=64), "the stream ended before the hashes"),
])
def test_requests_that_nobody_should_make(pair, data, text):
    before = {name: pair.target.read(name) for name in pair.target.told()}
    code, out = ask(pair, "fill disk01", data)
    assert (code, text in out.decode(errors="replace")) == (1, True), out
    assert {name: pair.target.read(name) for name in pair.target.told()} == before
    assert all(tags == ["xenfold.coming=disk01:xen01"] for tags in pair.target.told().values())


def test_what_was_written_after_it_was_read_does_not_count_as_read(pair):
    """Complete are only volumes that were read whole, in one go, after the last write."""
    root, spans = [], []
    for name, size in (("disk01-data", BLOCK), ("disk01-root", len(pair.data["disk01-root"]))):
        data = pair.target.read(f"{name}.coming")
        blocks = [volume_receive.digest(data[at:at + BLOCK]) for at in range(0, size, BLOCK)]
        root.append(volume_receive.hashlib.blake2b(b"".join(blocks), digest_size=32).digest())
        spans.append(size)
    reads = b"".join(request(b"H", number, 0, size) for number, size in enumerate(spans))
    done = request(b"C", length=64) + b"".join(root)
    same = request(b"W", 0, 0, 4) + pair.target.read("disk01-data.coming")[:4]
    assert ask(pair, "fill disk01", reads + same + done)[0] == 1
    assert ask(pair, "fill disk01", request(b"H", 0, 0, spans[0]) + done)[0] == 1
    assert ask(pair, "fill disk01", reads + done)[0] == 0
    assert all(tags == ["xenfold.complete=disk01:xen01"] for tags in pair.target.told().values())
    # And then nothing is written any more.
    assert ask(pair, "fill disk01", same)[0] == 1


def test_one_sender_at_a_time(pair):
    first = subprocess.Popen([sys.executable, str(pair.receiver), "fill disk01"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout.read(volume_receive.ANSWER.size)
    code, out = ask(pair, "fill disk01")
    first.stdin.close()
    first.stdout.read()
    first.stdout.close()
    assert (code, first.wait()) == (1, 0)
    assert b"another sender fills its volumes" in out
    assert ask(pair, "fill disk01")[0] == 0
