"""What the JSON files of precomputed/ must hold: read, and checked by hand, key by key.

A file may be damaged, edited by hand or written by another version, so nothing in it is used
before its type is known. Every fault is one sentence that names the file and the key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from sr_core.errors import CatalogueError

MAX_PSNR_DB = 200
"""Above any PSNR of 8-bit images that differ at all (a mean over a set is far below)."""


@dataclass(frozen=True)
class Quality:
    """A measured result of one model on one image set."""

    model_id: str
    image_set: str
    image_set_sha256: str
    protocol: str
    n: int
    psnr_y: float
    """dB, mean over the images."""
    ssim_y: float


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0  # bool is an int too


def _is_number(value: object, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= cast(float, value) <= high  # false for NaN


def _is_filled(value: object, kind: type) -> bool:
    return isinstance(value, kind) and bool(value)


Rule = tuple[Callable[[object], bool], str]
"""A check of one value, and in words what it expects."""

_TEXT: Rule = (_is_text, "a text")
_SHA256: Rule = (_is_sha256, "a SHA-256 in hex")
_QUALITY_ROW: Mapping[str, Rule] = {
    "model_id": _TEXT,
    "image_set": _TEXT,
    "image_set_sha256": _SHA256,
    "protocol": _TEXT,
    "n": (_is_count, "a whole number above 0"),
    "psnr_y": (lambda v: _is_number(v, 0, MAX_PSNR_DB), f"a number of 0 to {MAX_PSNR_DB} dB"),
    "ssim_y": (lambda v: _is_number(v, -1, 1), "a number of -1 to 1"),
}
_DESCRIPTOR: Mapping[str, Rule] = {
    "spec": (lambda v: _is_filled(v, dict), "an object"),
    "weights_sha256": _SHA256,
    "training": (lambda v: _is_filled(v, list), "a list of at least one run"),
    "data_sha256": _SHA256,
    "validation_crops_sha256": _SHA256,
    "licence": _TEXT,
}


def quality_row(data: object, where: str) -> dict[str, Any]:
    """One row of results/quality.json with the right keys and types; `CatalogueError` if not."""
    row = cast(dict[str, Any], data) if isinstance(data, dict) else {}
    problems = _problems(row, _QUALITY_ROW, where)
    if not problems and (extra := len(row.keys() - _QUALITY_ROW.keys())):
        problems = [f"{where} has {extra} unknown keys: expected only {', '.join(_QUALITY_ROW)}."]
    if problems:
        raise CatalogueError(problems[0])
    return row


def descriptor_problems(described: Mapping[str, Any], where: str) -> list[str]:
    """What a supernet's descriptor lacks, one sentence each; more keys than needed are fine."""
    return _problems(described, _DESCRIPTOR, where)


def _problems(data: Mapping[str, Any], rules: Mapping[str, Rule], where: str) -> list[str]:
    return [
        f"{where} has no valid {key!r}: expected {expected}, got "
        f"{type(data[key]).__name__ if key in data else 'nothing'}; restore or publish it again."
        for key, (accepts, expected) in rules.items()
        if not accepts(data.get(key))
    ]
