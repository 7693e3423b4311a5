"""Writers of precomputed/ wait for one another."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sr_core.catalogue.writer import changing, write_manifest
from sr_core.files import sha256

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="There is no flock.")
SEAL = """
import sys; from pathlib import Path; from sr_core.catalogue.writer import write_manifest
print(1, flush=True); write_manifest(Path(sys.argv[1]))
"""


def sealed(root: Path) -> dict[str, str]:
    return json.loads((root / "manifest.json").read_text())


def test_another_process_waits(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    with changing(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", SEAL, tmp_path], stdout=subprocess.PIPE)
        assert other.stdout is not None
        with other.stdout as ready:
            assert ready.readline() == b"1\n"
        time.sleep(0.2)
        assert other.poll() is None
        assert not (tmp_path / "manifest.json").exists()
        (tmp_path / "a").write_text("2")
    assert other.wait(10) == 0
    assert sealed(tmp_path) == {"a": sha256(tmp_path / "a")}  # without the lock itself


def test_a_failed_change_is_not_sealed(tmp_path: Path) -> None:
    with pytest.raises(KeyError), changing(tmp_path):
        raise KeyError
    assert not (tmp_path / "manifest.json").exists()
    write_manifest(tmp_path)  # the lock is free again
    assert sealed(tmp_path) == {}
