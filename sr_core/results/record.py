"""Stored records: their base, the types of their fields, and their one reader and writer.

A file may be damaged, edited by hand or written by another version, so nothing in it is used
before it is checked. Every fault is one sentence: the file, the place, what is wrong, the remedy.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sr_core.errors import CatalogueError, UpFrontError
from sr_core.files import read_utf8

Kind = TypeVar("Kind")
Runtime = Literal["sparse", "onnx"]
"""Our engine, or ONNX Runtime."""
Colour = Literal["rgb", "luma"]
"""What a network sees, as in `network.colour`."""


def engine_title(runtimes: Mapping[Runtime, str]) -> str:
    """Return "our engine with AVX-512" for the name that results keep of it."""
    _, _, instructions = runtimes["sparse"].partition(", ")
    return f"our engine with {instructions}" if instructions else "our engine"


def short(value: float) -> float:
    """Round to 5 digits."""
    return float(f"{value:.5g}")


Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False), AfterValidator(short)]
"""Kept with 5 digits."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Drift = Annotated[float, Field(gt=-1, allow_inf_nan=False)]
"""Change of a time during a sitting, as a share of it."""
Count = Annotated[int, Field(ge=1, le=10**9)]
Natural = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]

_MAX_PLACE = 80
_MAX_FAULT = 200
_MAX_GOT = 40
"""Characters of a file's content that an error text repeats: keys and values may be anything."""
_NOT_ABOUT_A_VALUE = {"missing", "extra_forbidden", "json_invalid", "value_error"}
_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


class Record(BaseModel):
    """A frozen record of exactly these fields and types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def read_record(
    path: Path, kind: type[Kind], *, remake: str, error: type[UpFrontError] = CatalogueError
) -> Kind:
    """Read the record in a JSON file, or the list or tuple of records.

    Raises `error` if the file is missing, cannot be read or holds anything else. Its text names
    the first fault. `remake` says what helps then, such as "restore it".
    """
    name = "/".join(path.parts[-2:])
    try:
        return TypeAdapter(kind).validate_json(read_utf8(path))
    except ValidationError as wrong:
        raise error(f"{name} is damaged ({fault(wrong)}): {remake}.") from None
    except FileNotFoundError:
        raise error(f"{name} is missing: {remake}.") from None
    except OSError as wrong:
        raise error(f"{name} cannot be read ({wrong.strerror}): {remake}.") from None


def to_json(record: BaseModel | Sequence[BaseModel], *, exclude_defaults: bool = False) -> str:
    """Return the text that `read_record` reads."""
    text = _ANYTHING.dump_json(record, indent=1, exclude_defaults=exclude_defaults)
    return text.decode() + "\n"


def fault(error: ValidationError, *, whole: str = "the file") -> str:
    """Return place and nature of the first fault, in one short line.

    `whole` is what to call the place of a fault that is not in one field.
    """
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] not in _NOT_ABOUT_A_VALUE:
        message = f"{message}, got {_on_one_line(reprlib.repr(first['input']), _MAX_GOT)}"
    return f"{_place(first['loc']) or whole}: {_on_one_line(message, _MAX_FAULT)}"


def _place(keys: Sequence[int | str]) -> str:
    """Name the place of a fault: `settings.0.threads`, or `row 3, n` in a list of records.

    It is "" if the fault is about all of the file.
    """
    row = f"row {keys[0] + 1}" if keys and isinstance(keys[0], int) else ""
    inside = _on_one_line(".".join(map(str, keys[1:] if row else keys)), _MAX_PLACE)
    return ", ".join(filter(None, (row, inside)))


def _on_one_line(text: str, most: int) -> str:
    chars = (char if char.isprintable() else repr(char)[1:-1] for char in text[:most])
    return "".join(chars)[:most]
