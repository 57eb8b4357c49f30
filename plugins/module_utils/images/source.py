# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A disk image on this host: whether it is the one that is wanted, how much room it takes, and how it comes by a URL."""
from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import struct
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from typing import IO, Any

Image = Mapping[str, Any]
Fetch = Callable[[str], IO[bytes]]

_CHUNK = 2**20
_QCOW2 = struct.Struct(">4sIQIIQI")
_QCOW2_MAGIC = b"QFI\xfb"
_EXTERNAL_DATA = 4
"""The bit of qcow2's incompatible features that tells a file of its own for the data (QEMU's docs/interop/qcow2.txt)."""
_BLOCK = 4096


class ImageError(Exception):
    """An image that cannot be used; the text names it and what to do."""


def digest(path: str) -> str | None:
    """SHA-256 of a file; None where there is none."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def size_bytes(image: Image, path: str) -> int:
    """The room that an image takes on a disk; what is in a tar takes more, by its file system. Raises ImageError for one that is no use."""
    title = f"disk image {image['name']!r}"
    if image["format"] == "qcow2":
        return _size_of_qcow2(title, path)
    if image["format"] == "tar":
        try:
            with tarfile.open(path, mode="r|*") as archive:
                return sum(-(-member.size // _BLOCK) * _BLOCK for member in archive if member.isreg())
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            raise ImageError(f"{title}: is no archive of tar that can be read, as it is or packed by gzip, bzip2 or xz: {error}") from error
    return os.path.getsize(path)


def _size_of_qcow2(title: str, path: str) -> int:
    """From the header, before QEMU's tools have to be there. An image that takes its content from another file is refused."""
    with open(path, "rb") as stream:
        head = stream.read(80).ljust(80, b"\0")
    magic, version, backing, _length, _bits, size, encrypted = _QCOW2.unpack_from(head)
    if magic != _QCOW2_MAGIC or version not in (2, 3):
        raise ImageError(f"{title}: format: is qcow2, and the file is none of version 2 or 3")
    features = int.from_bytes(head[72:80], "big") if version == 3 else 0
    odd = "lies on another image" if backing else "is encrypted" if encrypted else \
        "has its data in another file" if features & _EXTERNAL_DATA else ""
    if odd:
        raise ImageError(f"{title}: {odd}; allowed is one that stands alone: qemu-img convert -O qcow2 OLD NEW makes one")
    return int(size)


def mismatch(image: Image, found: str) -> str:
    return (f"disk image {image['name']!r}: sha256: the file has {found}, wanted is {image['sha256'].lower()}; bring the right file, or"
            " say its sha256 when it is meant to be another")


def bring(image: Image, path: str, fetch: Fetch) -> None:
    """Get an image by its URL; what lies under its name is whole and the right one. Raises ImageError, and nothing is left then.

    fetch: opens a URL.
    """
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        # Of a run that was killed; nobody else makes files of this name here.
        if name.startswith(f".{os.path.basename(path)}."):
            os.unlink(f"{folder}/{name}")
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{os.path.basename(path)}.")
    try:
        found = hashlib.sha256()
        with os.fdopen(descriptor, "wb") as stream, fetch(image["url"]) as source:
            while chunk := source.read(_CHUNK):
                stream.write(chunk)
                found.update(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        if found.hexdigest() != image["sha256"].lower():
            raise ImageError(mismatch(image, found.hexdigest()))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ImageError(f"disk image {image['name']!r}: url: {image['url']} could not be fetched: {error}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def too_large(image: Image, path: str, rooms: Mapping[str, int]) -> list[str]:
    """Volumes that are smaller than an image, one line each. rooms: volume (group/name) -> bytes. Raises ImageError."""
    size = size_bytes(image, path) if rooms else 0
    return [f"volume {volume!r}: disk image {image['name']!r} takes {size / 2**30:.3f} GiB and the volume has {room / 2**30:.3f} GiB; "
            "give the disk more size_gib" for volume, room in sorted(rooms.items()) if size > room]


def judge(
    images: Mapping[str, Image], rooms: Mapping[str, Mapping[str, int]], paths: Mapping[str, str], may_come: bool = False
) -> tuple[list[str], list[str]]:
    """What is wrong with images that are needed, one line each, and the names of those that have to be fetched first.

    rooms: image -> volumes that it goes to, with their bytes; paths: image -> its file; may_come: whether one that is not
    there, or not as it is wanted, may still be brought by an earlier step of the run.
    """
    errors, absent = [], []
    for name, image in images.items():
        found = digest(paths[name])
        if found != image["sha256"].lower():
            if image.get("url"):
                absent.append(name)
            elif not may_come:
                none = f"disk image {name!r}: there is no {paths[name]}; the role guests brings it"
                errors.append(mismatch(image, found) if found else none)
            continue
        try:
            errors += too_large(image, paths[name], rooms[name])
        except ImageError as error:
            errors.append(str(error))
    return errors, absent
