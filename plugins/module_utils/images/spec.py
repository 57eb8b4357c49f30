# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images that guests' disks are made from: what may be said of them, and which volumes are filled with what."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import IMAGES_DIR, normalise, volume_name
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.schema import NAME, given, wrong
from ansible_collections.xenfold.consolidation.plugins.module_utils.images import first_boot

Image = Mapping[str, Any]

FILE_SYSTEMS = ["ext4", "xfs"]
IMAGE_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "path": {"type": "str"},
    "url": {"type": "str"},
    "sha256": {"type": "str", "required": True},
    "format": {"type": "str", "required": True, "choices": ["raw", "qcow2", "tar"]},
    "filesystem": {"type": "str", "choices": FILE_SYSTEMS},
}
FILL_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "volume_group": {"type": "str", "required": True},
    "image": {"type": "str"},
    "files": {"type": "dict", "no_log": True},
}
_URL = re.compile(r"https?://[^\s'\"\\]+")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def image_path(name: str) -> str:
    """Where a disk image lies on a host."""
    return f"{IMAGES_DIR}/{name}/disk"


def check_images(images: Any) -> list[str]:
    """What is wrong with a list of disk images, one line each, which names the image."""
    if not isinstance(images, Sequence) or isinstance(images, str):
        return [wrong("disk images", images, "a list of images")]
    errors: list[str] = []
    seen: set[str] = set()
    for number, image in enumerate(images, 1):
        if not isinstance(image, Mapping):
            errors.append(f"disk image number {number}: value {image!r}, allowed a mapping of keys and values")
            continue
        title = f"disk image {str(image['name'])!r}" if image.get("name") is not None else f"disk image number {number}"
        found = _check_image(given(image))
        if not found and image["name"] in seen:
            found = [wrong("name", image["name"], "a name of its own")]
        seen.add(str(image.get("name")))
        errors += [f"{title}: {error}" for error in found]
    return errors


def _check_image(image: Image) -> list[str]:
    errors = [f"{key}: is no key here, allowed {', '.join(sorted(IMAGE_SPEC))}" for key in image if key not in IMAGE_SPEC]
    errors += [f"{key}: is missing" for key, rule in IMAGE_SPEC.items() if rule.get("required") and key not in image]
    errors += [wrong(key, image[key], "a text that is not empty") for key in image
               if key in IMAGE_SPEC and not (isinstance(image[key], str) and image[key])]
    if errors:
        return errors
    for key, rule in IMAGE_SPEC.items():
        if key in image and image[key] not in rule.get("choices", [image[key]]):
            errors.append(wrong(key, image[key], ", ".join(rule["choices"])))
    if not NAME.fullmatch(image["name"]):
        errors.append(wrong("name", image["name"], "lower-case letters, digits, '.' and '-', a letter or digit at both ends"))
    if not _SHA256.fullmatch(image["sha256"]):
        errors.append(wrong("sha256", image["sha256"], "64 hexadecimal digits, as sha256sum prints them"))
    if ("path" in image) == ("url" in image):
        errors.append("path: is given beside url; an image has one of them" if "path" in image
                      else "path: is missing; an image has a path on the control node, or a url")
    if "url" in image and not _URL.fullmatch(image["url"]):
        errors.append(wrong("url", image["url"], "an address as https://example.org/disk.qcow2"))
    if "filesystem" in image and image["format"] != "tar":
        errors.append(wrong("filesystem", image["filesystem"], f"only for format tar; this image is {image['format']}"))
    return errors


def check_fill(fill: Iterable[Mapping[str, Any]], images: Mapping[str, Image]) -> list[str]:
    """Errors of what volumes are filled with: an image that there is, or files of a seed."""
    errors = []
    for entry in fill:
        title, image, files = f"fill {entry['volume_group']}/{entry['name']}", entry.get("image"), entry.get("files")
        if (image is None) == (files is None):
            errors.append(f"{title}: image: {'is given beside files' if image else 'is missing'}; allowed is one of image and files")
        elif image is not None and image not in images:
            errors.append(f"{title}: " + wrong("image", image, f"a name of images: {', '.join(sorted(images)) or 'there are none'}"))
        elif files is not None and not all(isinstance(text, str) for text in files.values()):
            errors.append(f"{title}: files: value of another kind, allowed texts by name")
    return errors


def fillings(guests: Iterable[Mapping[str, Any]], images: Sequence[Image]) -> dict[str, list[dict[str, Any]]]:
    """What volumes of sound guests are filled with when they are new: `fill`, of FILL_SPEC, and `images`, those that are needed for that.

    Raises ValueError with everything that is wrong with the images, or names one that is not there.
    """
    errors = check_images(images)
    if errors:
        raise ValueError("; ".join(errors))
    by_name = {image["name"]: given(image) for image in images}
    fill: list[dict[str, Any]] = []
    for guest in map(normalise, guests):
        seed = first_boot.seed_name(guest) if guest["first_boot"] else None
        for index, disk in enumerate(guest["disks"]):
            volume = {"name": volume_name(guest["name"], disk["name"]), "volume_group": disk["volume_group"]}
            if disk["image"]:
                if disk["image"] not in by_name:
                    there = ", ".join(sorted(by_name)) or "there are none"
                    errors.append(f"guest {guest['name']!r}: " + wrong(f"disks[{index}].image", disk["image"],
                                                                        f"a name of guests_disk_images: {there}"))
                fill.append(volume | {"image": disk["image"]})
            elif seed and disk["name"] == seed:
                fill.append(volume | {"files": first_boot.files(guest)})
    if errors:
        raise ValueError("; ".join(errors))
    needed = {entry.get("image") for entry in fill}
    return {"fill": sorted(fill, key=lambda entry: (entry["volume_group"], entry["name"])),
            "images": [image for name, image in sorted(by_name.items()) if name in needed]}
