"""Directories of tags, as TIFF files and EXIF blocks hold them, read and changed in place.

No offset and no count is trusted, and one odd tag does not hide the others. That is why this is
not left to Pillow, which refuses a whole block for one of them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Set
from dataclasses import dataclass

_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
"""Bytes per value, by the type of a tag."""
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}
_RATIONALS = {5: "II", 10: "ii"}
_SHORT, _LONG = 3, 4


@dataclass(frozen=True)
class _Form:
    """An entry is tag and type (2 bytes each), then a number of values and the values, or where
    they are: a word each. So is the place of the next directory, behind the entries."""

    order: str
    count: str
    """Code of the number of entries."""
    word: str

    @property
    def word_bytes(self) -> int:
        return struct.calcsize("=" + self.word)

    @property
    def entry_bytes(self) -> int:
        return 4 + 2 * self.word_bytes


_FORMS = {
    b"II*\0": _Form("<", "H", "I"), b"MM\0*": _Form(">", "H", "I"),
    b"II+\0": _Form("<", "Q", "Q"), b"MM\0+": _Form(">", "Q", "Q"),
}  # fmt: skip
"""Of TIFF and of BigTIFF."""
MAGICS = tuple(_FORMS)
ORIENTATION = 0x112
RESOLUTION = frozenset({0x11A, 0x11B, 0x128})
"""Across, down, and their unit."""


class Directory:
    """The tags at one place in `data`. Changes go into `data` itself."""

    def __init__(self, data: bytearray, offset: int | None = None) -> None:
        """Find the tags of the directory at `offset`, or of the first one.

        Raises `ValueError` if there is no directory. Of one that is cut short, the rest counts.
        """
        form = _FORMS.get(bytes(data[:4]))
        if form is None:
            raise ValueError("no TIFF header")
        self._data, self._form = data, form
        first = form.word_bytes  # of the same size as what stands before it
        self._offset = self._unpack(form.word, first) if offset is None else offset
        if self._offset < 2 * first:
            raise ValueError("no directory")
        self._count, self._at = 0, dict[int, int]()
        self._find()

    def tags(self) -> Set[int]:
        """Return the numbers of all tags."""
        return self._at.keys()

    def integers(self, tag: int) -> tuple[int, ...]:
        """Return the values of a tag of integers; empty if it is missing or odd."""
        return self._values(tag, _INTEGERS)

    def integer(self, tag: int) -> int | None:
        """Return the first value of a tag of integers."""
        return next(iter(self.integers(tag)), None)

    def rational(self, tag: int) -> float | None:
        """Return the first value of a tag of fractions, None if the denominator is 0."""
        values = self._values(tag, _RATIONALS)
        return values[0] / values[1] if len(values) > 1 and values[1] else None

    def raw(self, tag: int) -> bytes:
        """Return the bytes of a tag; empty if it is missing or odd."""
        if (at := self._at.get(tag)) is None:
            return b""
        word, size = self._form.word, self._form.word_bytes
        length = self._unpack(word, at + 4) * _BYTES.get(self._unpack("H", at + 2), 0)
        start = at + 4 + size if length <= size else self._unpack(word, at + 4 + size)
        found = bytes(self._data[start : start + length])
        return found if len(found) == length else b""

    def sound(self, tag: int) -> bool:
        """Tell whether a tag has values of a known type, all in the data, and no fraction over 0.

        Negative denominators are odd too: they mostly are 2 to the power of 32 less 1, unsigned.
        """
        fractions = self._values(tag, _RATIONALS)
        return bool(self.raw(tag)) and all(below > 0 for below in fractions[1::2])

    def set_integer(self, tag: int, value: int) -> None:
        """Change a tag that holds one integer; leave any other as it is."""
        if len(self.integers(tag)) != 1:
            return
        kind, size = _SHORT if value < 65536 else _LONG, self._form.word_bytes
        place = self._at[tag] + 4 + size
        self._data[place : place + size] = bytes(size)
        self._pack("H", self._at[tag] + 2, kind)
        self._pack(_INTEGERS[kind], place, value)

    def next(self) -> int:
        """Return where the next directory is, 0 if there is none."""
        try:
            return self._unpack(self._form.word, self._end())
        except ValueError:
            return 0

    def unlink_next(self) -> None:
        """Make this the last directory."""
        if self.next():
            self._pack(self._form.word, self._end(), 0)

    def keep(self, tags: Set[int]) -> None:
        """Take all other tags out of the directory."""
        following, size = self.next(), self._form.entry_bytes
        places = sorted(at for tag, at in self._at.items() if tag in tags)
        kept = b"".join(bytes(self._data[at : at + size]) for at in places)
        self._pack(self._form.count, self._offset, len(places))
        self._data[self._start() : self._start() + len(kept)] = kept
        self._find()
        self._pack(self._form.word, self._end(), following)

    def _find(self) -> None:
        self._count = self._unpack(self._form.count, self._offset)
        start, size = self._start(), self._form.entry_bytes
        whole = min(self._count, max(0, len(self._data) - start) // size)
        places = range(start, start + size * whole, size)
        self._at = {self._unpack("H", at): at for at in reversed(places)}  # the first one counts

    def _start(self) -> int:
        return self._offset + struct.calcsize("=" + self._form.count)

    def _end(self) -> int:
        return self._start() + self._form.entry_bytes * self._count

    def _values(self, tag: int, kinds: dict[int, str]) -> tuple[int, ...]:
        raw = self.raw(tag)
        code = kinds.get(self._unpack("H", self._at[tag] + 2)) if raw else None
        if code is None:
            return ()
        count = len(raw) // struct.calcsize("=" + code)
        return struct.unpack(self._form.order + code * count, raw)

    def _unpack(self, code: str, at: int) -> int:
        try:
            return struct.unpack_from(self._form.order + code, self._data, at)[0]
        except struct.error:
            raise ValueError("directory cut short") from None

    def _pack(self, code: str, at: int, value: int) -> None:
        if at + struct.calcsize("=" + code) <= len(self._data):
            struct.pack_into(self._form.order + code, self._data, at, value)


def resolution(directory: Directory) -> tuple[float, float] | None:
    """Return the dots per inch across and down, None if they are not stated."""
    across, down = directory.rational(0x11A), directory.rational(0x11B)
    unit = {2: 1.0, 3: 2.54, None: 1.0}.get(directory.integer(0x128))
    if across is None or down is None or unit is None:
        return None
    return plausible((across * unit, down * unit))


def plausible(dpi: tuple[float, float]) -> tuple[float, float] | None:
    """Return `dpi` if it is a resolution that files can hold, else None."""
    return dpi if all(math.isfinite(value) and 1 <= value < 65536 for value in dpi) else None


def turn(directory: Directory) -> int:
    """Return how the image is turned, 1 (upright) to 8. Anything else counts as upright."""
    value = directory.integer(ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else 1
