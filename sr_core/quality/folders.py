"""Folders of images as they are unpacked: what counts, and which LR image is of which HR image.

Known namings besides equal names: DIV2K's 0801.png and X4/0801x4.png, and the pairs of Urban100's
release, img_001_SRF_4_HR.png and img_001_SRF_4_LR.png.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import TypeAlias

from sr_core.errors import DatasetError
from sr_core.files import reason

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
_ADDED = {"__macosx", "@eadir", "$recycle.bin"}
"""Folders that systems add to those of people, besides hidden ones."""
_MARKS = re.compile(r"(?:_SRF_(\d))?(?:_(HR|GT|LR))?(?:_?x(\d)[a-z]?)?$", re.IGNORECASE)
"""End of a file's name that tells scale, role, scale: _SRF_4_LR, _LRx4, x4 (also x4m, x4d)."""
_MARKED_FOLDER = re.compile(r"(?:image_SRF_|LR_?x|x)(\d)|(\d)x|HR|GT|LR", re.IGNORECASE)
_SHOWN = 3
"""Names that an error lists."""

Key: TypeAlias = tuple[str, ...]


def list_images(folder: Path) -> list[Path]:
    """List the images below `folder`, by relative path.

    Hidden files and what systems add (`._0801.png`, `__MACOSX`) do not count. Folders that are
    links are followed, but none is listed twice. Raises `DatasetError` if there is no image.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder: give one that holds images.")
    files = sorted(path for path in _files(folder) if path.suffix.lower() in EXTENSIONS)
    if not files:
        raise DatasetError(f"No image in {folder}: expected {', '.join(EXTENSIONS)} files.")
    return files


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files that count. Links to folders come last, so that real paths are preferred."""
    folders, links, seen = [folder], list[Path](), set[tuple[int, int]]()
    while folders or links:
        place = folders.pop() if folders else links.pop(0)
        try:
            identity = place.stat()
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            raise DatasetError(f"{place} cannot be listed ({reason(error)}).") from None
        if (identity.st_dev, identity.st_ino) in seen:
            continue
        seen.add((identity.st_dev, identity.st_ino))
        for entry in entries:
            if entry.name.startswith(".") or entry.name.casefold() in _ADDED:
                continue
            if entry.is_dir():
                (links if entry.is_symlink() else folders).append(place / entry.name)
            elif entry.is_file() or entry.is_symlink():  # a broken link is an error when read
                yield place / entry.name


def hr_images(folder: Path) -> list[Path]:
    """List the images below `folder` as `list_images` does, without versions of others.

    These lie beside their HR image and are called after it: photo_HR.png, photo_LR.png.
    """
    files = list_images(folder)
    bases = {(path.parent, _base(path.stem)) for path in files if _role(path.stem) == "HR"}

    def is_version(path: Path) -> bool:
        role, base = _role(path.stem), _base(path.stem)
        by_name = role == "LR" or (role == "" and "_SRF_" in base.upper())
        return by_name and (path.parent, base) in bases

    return [path for path in files if not is_version(path)]


def paired_images(hr_folder: Path, lr_folder: Path, scale: int) -> list[tuple[Path, Path]]:
    """List the HR images with their LR images of `scale`, in the order of `hr_images`.

    Raises `DatasetError`, which names the first ones, if images have no partner.
    """
    high = [path for path in hr_images(hr_folder) if _srf(path.stem) in ("", str(scale))]
    known, names = set(high), {path.relative_to(hr_folder) for path in high}
    low = [
        path
        for path in list_images(lr_folder)
        if path not in known
        and _role(path.stem) != "HR"
        and ((own := path.relative_to(lr_folder)) in names or _fits(own, scale))
    ]
    partners: dict[Path, Path] = {}
    for keys in (_whole, _in_its_folder, _alone):
        taken = set(partners.values())
        there = _index((path for path in low if path not in taken), lr_folder, keys)
        for path in high:
            found = there[keys(path.relative_to(hr_folder), is_hr=True)[0]]
            if path not in partners and len(found) == 1 and found[0] not in partners.values():
                partners[path] = found[0]
    _check_all([path for path in high if path not in partners], lr_folder, "LR")
    _check_all([path for path in low if path not in partners.values()], hr_folder, "HR")
    return [(path, partners[path]) for path in high]


def _check_all(lonely: Sequence[Path], folder: Path, kind: str) -> None:
    if lonely:
        names = ", ".join(path.name for path in lonely[:_SHOWN])
        more = f" and {len(lonely) - _SHOWN} more" if len(lonely) > _SHOWN else ""
        raise DatasetError(
            f"{folder} has no {kind} image of {names}{more}: partners have the same name, or LR is "
            "named like 0801x4.png or img_001_SRF_4_LR.png."
        )


def _role(stem: str) -> str:
    """Return HR or LR if the name ends so, else nothing. GT is another word for HR."""
    match = _MARKS.search(stem)
    role = ((match and match[2]) or "").upper()
    return "HR" if role == "GT" else role


def _base(stem: str) -> str:
    """Return the name before its role, or before its last word."""
    match = _MARKS.search(stem)
    return stem[: match.start(2) - 1] if match and match[2] else stem.rpartition("_")[0]


def _srf(stem: str) -> str:
    """Return the scale of img_001_SRF_4_HR, nothing if the name tells none in this way."""
    match = _MARKS.search(stem)
    return (match and match[1]) or ""


def _fits(path: PurePath, scale: int) -> bool:
    """Tell whether no part of an LR image's relative path names another scale."""
    found = [_MARKED_FOLDER.fullmatch(part) for part in path.parent.parts]
    found.append(_MARKS.search(path.stem))
    digits = [group for match in found if match for group in match.groups() if group]
    return all(digit == str(scale) for digit in digits if digit.isdecimal())


def _whole(path: PurePath, *, is_hr: bool) -> list[Key]:
    del is_hr
    return [path.parts]


def _in_its_folder(path: PurePath, *, is_hr: bool) -> list[Key]:
    """Return the folders that tell neither scale nor role, and each name the image may have."""
    parts = [_plain(part) for part in path.parent.parts if not _MARKED_FOLDER.fullmatch(part)]
    return [(*parts, *name) for name in _alone(path, is_hr=is_hr)]


def _alone(path: PurePath, *, is_hr: bool) -> list[Key]:
    """Return the name without marks, and that with them, which may be all of it (matrix4.png)."""
    match = _MARKS.search(path.stem)
    start = match.start() if match else 0
    short = path.stem[:start] or path.stem
    if is_hr and match and not match[1] and not match[2]:
        short = path.stem
    return [(_plain(name),) for name in dict.fromkeys((short, path.stem))]


def _plain(name: str) -> str:
    """Return a name as it is compared: Macs unpack é as two letters, some systems know no case."""
    return unicodedata.normalize("NFC", name).casefold()


def _index(
    paths: Iterable[Path], folder: Path, keys: Callable[..., list[Key]]
) -> defaultdict[Key, list[Path]]:
    found: defaultdict[Key, list[Path]] = defaultdict(list)
    for path in paths:
        for key in keys(path.relative_to(folder), is_hr=False):
            found[key].append(path)
    return found
