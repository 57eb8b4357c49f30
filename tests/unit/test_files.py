# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that are written whole, and blocks in files of somebody else's."""
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import BrokenBlock, WantedFile, lost, with_block, write_atomically
from hypothesis import given
from hypothesis import strategies as st

BEGIN, END = "# BEGIN us", "# END us"


@pytest.mark.parametrize(("text", "kept"), [
    ("", ""),
    ("a\nb\n", "a\nb\n\n"),
    (f"a\n\n{BEGIN}\nold\n{END}\nb\n", "a\n\nb\n\n"),
    (f"a\n{BEGIN}  \r\nold\n{END}\r\nb\r\n", "a\nb\r\n\n"),
    ("# BEGIN others\nx\n# END others\n", "# BEGIN others\nx\n# END others\n\n"),
    (f"  {BEGIN}\n{BEGIN} too\n", f"  {BEGIN}\n{BEGIN} too\n\n"),
    ("a\x0cb\u2028c\n", "a\x0cb\u2028c\n\n"),
])
def test_everything_outside_the_block_stays(text, kept):
    assert with_block(text, "us", ["new"]) == f"{kept}{BEGIN}\nnew\n{END}\n"


@pytest.mark.parametrize(("text", "says"), [
    (f"a\n{BEGIN}\nold\nb\n", ["line 2: '# BEGIN us' stands there without '# END us' below it", "Put '# END us' where the block ends"]),
    (f"a\n{END}\nb\n", ["line 2: '# END us' stands there without '# BEGIN us' above it", "allowed is one block between"]),
    (f"{END}\n{BEGIN}\n", ["line 1: '# END us' stands there without"]),
    (f"{BEGIN}\n{BEGIN}\n{END}\n", ["line 2: '# BEGIN us' stands there a second time"]),
    (f"{BEGIN}\n{END}\nc\n{BEGIN}\n{END}\n", ["line 4: '# BEGIN us' stands there a second time"]),
    (f"{BEGIN}\n{END}\n{END}\n", ["line 3: '# END us' stands there a second time"]),
])
def test_marks_that_are_not_one_pair_are_refused_with_their_line(text, says):
    with pytest.raises(BrokenBlock) as caught:
        with_block(text, "us", ["new"])
    assert all(part in str(caught.value) for part in says)


@given(st.lists(st.sampled_from([BEGIN, END, "a", "", "# x"]), max_size=8))
def test_no_line_of_a_foreign_file_is_ever_lost(lines):
    text = "\n".join(lines)
    pair = [line for line in lines if line in (BEGIN, END)]
    if pair not in ([], [BEGIN, END]):
        with pytest.raises(BrokenBlock):
            with_block(text, "us", ["new"])
        return
    inside = range(lines.index(BEGIN), lines.index(END) + 1) if pair else ()
    foreign = [line for number, line in enumerate(lines) if number not in inside]
    assert "\n".join(foreign).rstrip() == with_block(text, "us", ["new"]).split(BEGIN)[0].rstrip()


@pytest.mark.parametrize(("before", "mode", "after"), [
    (None, None, 0o644), (None, 0o600, 0o600), (0o600, None, 0o600), (0o664, None, 0o664), (0o644, 0o640, 0o640),
])
def test_modes(before, mode, after, tmp_path: Path):
    path = tmp_path / "below" / "file"
    if before is not None:
        path.parent.mkdir()
        path.write_text("old")
        path.chmod(before)
    write_atomically(WantedFile(str(path), "new", mode))
    assert (path.read_text(), path.stat().st_mode & 0o7777) == ("new", after)
    assert [item.name for item in path.parent.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize(("mode", "owner"), [(None, (1234, 4321)), (0o640, (0, 0))])
def test_the_owner_stays_unless_the_mode_is_ours(mode, owner, tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")
    os.chown(path, 1234, 4321)
    write_atomically(WantedFile(str(path), "new", mode))
    assert (path.stat().st_uid, path.stat().st_gid) == owner


def test_without_root_the_owner_is_who_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def chown(*_arguments: object) -> None:
        raise PermissionError

    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o660)
    monkeypatch.setattr(os, "chown", chown)
    write_atomically(WantedFile(str(path), "new"))
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o660)


@pytest.mark.parametrize("there", [True, False])
def test_what_a_symlink_leads_to_is_written_and_the_link_stays(there, tmp_path: Path):
    target, link = tmp_path / "kept" / "real.conf", tmp_path / "file.conf"
    target.parent.mkdir()
    if there:
        target.write_text("old")
        target.chmod(0o640)
    link.symlink_to("kept/real.conf")
    write_atomically(WantedFile(str(link), "new"))
    assert (os.readlink(link), target.read_text()) == ("kept/real.conf", "new")
    assert target.stat().st_mode & 0o777 == (0o640 if there else 0o644)


def test_a_link_to_what_is_no_file_is_replaced(tmp_path: Path):
    fifo, link = tmp_path / "null", tmp_path / "masked"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    write_atomically(WantedFile(str(link), "new"))
    assert not link.is_symlink()
    assert link.read_text() == "new"
    assert fifo.is_fifo()


@pytest.mark.parametrize(("text", "is_lost"), [(None, False), ("", True), ("\0" * 1416, True), ("\n \t\r\n", True), ("#\n", False)])
def test_a_file_without_a_word_was_lost(text, is_lost):
    assert lost(text) is is_lost
