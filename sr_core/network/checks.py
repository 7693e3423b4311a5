"""Checks of values that come from JSON, for `network.candidate`; faults are `InvalidCandidate`."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any, cast

from sr_core.errors import InvalidCandidate

_MAX_ECHO = 40
"""Characters of a wrong value that an error text repeats."""


def number(value: object, what: str) -> int | float:
    """Return `value` if it is a number (True and False are not)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidCandidate(f"The {what} must be a number, got {type_name(value)}.")
    return value


def integer(value: object, what: str) -> int:
    """Return `value` if it is a whole number (True and False are not)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidCandidate(f"The {what} must be a whole number, got {type_name(value)}.")
    return value


def json_object(
    data: object, where: str, *, required: set[str], optional: set[str]
) -> Mapping[str, Any]:
    """Return `data` if it is a JSON object with all required keys and no unknown ones."""
    if not isinstance(data, dict):
        raise InvalidCandidate(f"{where}: expected a JSON object, got {type_name(data)}.")
    fields = cast(dict[str, Any], data)
    if missing := required - fields.keys():
        raise InvalidCandidate(f"{where}: missing {listing(sorted(missing))}.")
    if unknown := fields.keys() - required - optional:
        raise InvalidCandidate(
            f"{where}: unknown {_cut(listing(sorted(map(str, unknown))))}; "
            f"expected {listing(sorted(required | optional))}."
        )
    return fields


def json_array(data: object, where: str, name: str, *, most: int) -> list[object]:
    """Return `data` if it is a JSON array of at most `most` items.

    The length is checked before anything in it is parsed.
    """
    if not isinstance(data, list):
        raise InvalidCandidate(f"{where}: '{name}' must be a list, got {type_name(data)}.")
    items = cast(list[object], data)
    if len(items) > most:
        raise InvalidCandidate(f"{where}: got {len(items)} {name}, expected at most {most}.")
    return items


def type_name(value: object) -> str:
    """Return the name of a value's type, for an error text."""
    return "null" if value is None else type(value).__name__


def listing(values: object) -> str:
    """Return the values with commas between them."""
    return ", ".join(str(value) for value in cast(list[object], values))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_ECHO else f"{text[: _MAX_ECHO - 3]}..."


def brief(value: object) -> str:
    """Return a wrong value, short, for an error text. It is cheap however large the value is."""
    return _cut(_BRIEF.repr(value))


_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _MAX_ECHO
_BRIEF.maxlevel = 2
