"""Settings of a command, written once: fields of a dataclass, with their help texts.

`sr_core.cli.options` lists them as options of the command line, and `words` is the way back.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def option(
    default: Any,
    text: str,
    *,
    metavar: str | None = None,
    parse: Callable[[str], Any] | None = None,
) -> Any:
    """Make a field with a default and its help text.

    A number or word as default is added to the text, unless it speaks of the `default` itself.
    `parse` reads the value of a field whose type does not say how. It must not raise.
    """
    return field(default=default, metadata={"help": text, "metavar": metavar, "parse": parse})


def flag(name: str) -> str:
    """Return the option of a setting: `--budget-ms` of `budget_ms`."""
    return f"--{name.replace('_', '-')}"


def words(
    settings: DataclassInstance,
    *,
    places: Mapping[str, str] | None = None,
    leave_out: Collection[str] = (),
) -> list[str]:
    """Return the options that say these settings, without those that are None, False or empty.

    `places` has placeholders for values that are of this computer.
    """
    options: list[str] = []
    for item in fields(settings):
        value = getattr(settings, item.name)
        if item.name in leave_out or value is None or value is False or value in ({}, ()):
            continue
        placeholder = (places or {}).get(item.name)
        options += [flag(item.name), *([placeholder] if placeholder else _values(value))]
    return options


def _values(value: object) -> list[str]:
    if value is True:
        return []
    if isinstance(value, dict):
        return [f"{name}={factor:g}" for name, factor in value.items()]
    if isinstance(value, tuple):
        return [",".join(map(str, value))]
    return [f"{value:g}" if isinstance(value, float) else str(value)]


def command_line(name: str, options: Collection[str]) -> str:
    """Return the command `name` with its options, for a shell."""
    return shlex.join(["python", "-m", "sr_core", name, *options])
