"""Options of the command line from the fields of a dataclass; see `sr_core.options`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from sr_core.network.colour import CHANNELS
from sr_core.options import flag

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kind = TypeVar("Kind", bound="DataclassInstance")


def add_options(
    parser: argparse.ArgumentParser, kind: type[DataclassInstance], *, but: Collection[str] = ()
) -> None:
    """Add one option per field of `kind`, `but` for some.

    Raises `TypeError` for a field whose type has no option.
    """
    for item in fields(kind):
        if item.init and item.name not in but:
            add_option(parser.add_argument, kind, item.name)


def add_family_options(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a family of networks, by scale and colour."""
    parser.add_argument("--scale", type=int, required=True, help="upscaling factor: 2 or 4")
    add_colour_option(parser)


def add_colour_option(parser: argparse.ArgumentParser) -> None:
    """Add what the networks of a scale see."""
    parser.add_argument(
        "--colour", choices=tuple(CHANNELS), default="rgb",
        help="of the networks: rgb (default), or luma, which upscale brightness alone",
    )  # fmt: skip


def add_option(
    add_argument: Callable[..., object], kind: type[DataclassInstance], name: str
) -> None:
    """Add the option of one field, by the `add_argument` of a parser or of a group."""
    item = next(item for item in fields(kind) if item.name == name)
    details: dict[str, Any] = {
        "help": _help(item),
        "required": item.default is MISSING and item.default_factory is MISSING,
        "default": None if item.default is MISSING else item.default,
    }
    if metavar := item.metadata.get("metavar"):
        details["metavar"] = metavar
    add_argument(flag(name), **details | _reading(kind, item))


def settings_of(args: argparse.Namespace, kind: type[Kind], **instead: Any) -> Kind:
    """Return the settings that `add_options` listed, from the command line, some replaced."""
    values = {item.name: getattr(args, item.name) for item in fields(kind) if item.init}
    return kind(**values | instead)


def _help(item: Field[Any]) -> str:
    text, default = item.metadata["help"], item.default
    has_default = "default" in text or isinstance(default, bool)
    if isinstance(default, int | float | str) and not has_default:
        text += f" (default {default})"
    return text.replace("%", "%%")  # argparse formats help texts


def _reading(kind: type[DataclassInstance], item: Field[Any]) -> dict[str, Any]:
    """Return how argparse reads a value of the field."""
    if parse := item.metadata.get("parse"):
        return {"type": parse}
    hint = get_type_hints(kind)[item.name]
    choices = [one for one in get_args(hint) if one is not NoneType]
    if NoneType in get_args(hint) and len(choices) == 1:
        (hint,) = choices
    if hint is bool:
        return {"action": "store_true"}
    if hint in (int, float, str, Path):
        return {"type": hint}
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    if hint == dict[str, float]:
        return {"nargs": "*", "default": []}  # texts NAME=NUMBER
    raise TypeError(f"No option can be made of {kind.__name__}.{item.name}, which is {hint}.")
