"""The checksums that seal precomputed/, and whether its files are still those (`writer` seals)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from sr_core.catalogue.writer import MANIFEST, is_changing
from sr_core.errors import CatalogueError
from sr_core.files import sha256
from sr_core.results.record import Sha256, read_record

_SEALING_S = 5.0
"""How long a process that is writing to the folder is waited for."""


class Manifest:
    """manifest.json of a folder, read on first use and again where a file does not match it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._entries: dict[str, str] | None = None

    @property
    def entries(self) -> dict[str, str]:
        """File name -> SHA-256; `CatalogueError` if it cannot be read."""
        if (found := self._entries) is None:
            remake = "restore it from the repository"
            found = read_record(self._root / MANIFEST, dict[str, Sha256], remake=remake)
            self._entries = found
        return found

    def require(self, *paths: Path) -> None:
        """`CatalogueError` unless these files are what the manifest says.

        Another process may have changed both since the manifest was read, or be about to seal
        what it wrote: it is read again, and waited for.
        """
        end = time.monotonic() + _SEALING_S
        while wrong := self._mismatched(paths):
            patient = is_changing(self._root) and time.monotonic() < end
            self._entries = None
            if not patient and self._mismatched(paths):
                raise mismatch(wrong)
            time.sleep(_SEALING_S / 100)

    def _mismatched(self, paths: Sequence[Path]) -> str:
        """Name of the first file that is not what the manifest says; "" if all are."""
        for path in paths:
            name = path.relative_to(self._root).as_posix()
            if not path.is_file() or sha256(path) != self.entries.get(name):
                return name
        return ""


def mismatch(name: str) -> CatalogueError:
    """The error for a file that is not what the manifest says."""
    return CatalogueError(
        f"{name} does not match its checksum in manifest.json: restore both from the repository."
    )
