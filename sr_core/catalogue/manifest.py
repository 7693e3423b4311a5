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
        """File name -> SHA-256. Raises `CatalogueError` if the manifest cannot be read."""
        if (entries := self._entries) is None:
            remake = "restore it from the repository"
            entries = read_record(self._root / MANIFEST, dict[str, Sha256], remake=remake)
            self._entries = entries
        return entries

    def require(self, *paths: Path) -> None:
        """Raise `CatalogueError` unless these files are what the manifest says.

        Another process may have changed both since the manifest was read, or be about to seal
        what it wrote. So the manifest is read again, and the other process is waited for.
        """
        end = time.monotonic() + _SEALING_S
        while wrong := self._first_mismatch(paths):
            patient = is_changing(self._root) and time.monotonic() < end
            self._entries = None
            if not patient and self._first_mismatch(paths):
                raise mismatch(wrong)
            time.sleep(_SEALING_S / 100)

    def _first_mismatch(self, paths: Sequence[Path]) -> str:
        """Name the first file that is not what the manifest says, "" if all are."""
        for path in paths:
            name = path.relative_to(self._root).as_posix()
            if not path.is_file() or sha256(path) != self.entries.get(name):
                return name
        return ""


def mismatch(name: str) -> CatalogueError:
    """Return the error for a file that is not what the manifest says."""
    return CatalogueError(
        f"{name} does not match its checksum in manifest.json: restore both from the repository."
    )
