"""Commands whose standard streams cannot say everything, or are closed, or end early."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sr_core.files import REPOSITORY
from tests import tiny

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def run(tiny_root: Path, tmp_path: Path) -> Run:
    """Run a line of shell, in a folder with a.png, where `sr_core` is our command line."""
    tiny.save_drawn(tmp_path / "a.png", 16, 12)

    def run(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        code = "import sys; from sr_core.cli.main import main; sys.exit(main())"
        script = f'sr_core() {{ "$PYTHON" -c "{code}" --root "$ROOT" "$@"; }}; {line}'
        own = {"PYTHON": sys.executable, "ROOT": str(tiny_root), "PYTHONPATH": str(REPOSITORY)}
        end, held = os.pipe()  # standard input that does not end
        try:
            return subprocess.run(
                ["bash", "-c", script], capture_output=True, check=False, cwd=tmp_path,
                env=os.environ | own | environment, stdin=end,
            )  # fmt: skip
        finally:
            os.close(end)
            os.close(held)

    return run


UPSCALE = "sr_core upscale --engine onnx a.png"


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"PYTHONIOENCODING": "cp1252"}, b"out\xe2\x99\xa5.png"),
        ({"PYTHONIOENCODING": "ascii"}, b"out\xff.png"),
        ({"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}, b"out\xe2\x99\xa5.png"),
        ({}, b"out\xff.png"),
    ],
)
def test_any_name_is_written_in_any_encoding(
    run: Run, tmp_path: Path, environment: dict[str, str], name: bytes
) -> None:
    shell = name.decode("latin-1").encode("unicode_escape").decode()
    done = run(f"{UPSCALE} $'{shell}'; sr_core upscale $'{shell}.gif' b.png", **environment)
    assert done.stdout.startswith(b"out")
    assert b"64x48, model " in done.stdout
    assert os.fsdecode(name) in {path.name for path in tmp_path.iterdir()}
    assert (done.returncode, done.stderr[:27]) == (1, b"error: There is no file out")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_a_closed_stream_is_no_fault(run: Run, tmp_path: Path, closed: str) -> None:
    done = run(f"{UPSCALE} b.png {closed}")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "b.png").is_file()


@pytest.mark.parametrize(("wrong", "code"), [("upscale none.png b.png", 1), ("--nonsense", 2)])
def test_an_error_that_cannot_be_said_has_its_exit_code(run: Run, wrong: str, code: int) -> None:
    done = run(f"sr_core {wrong} 2>&-")
    assert (done.returncode, done.stdout) == (code, b"")


def test_a_closed_stream_is_not_taken_by_a_file(run: Run, tmp_path: Path) -> None:
    """The next file that is opened would have its number, and get what is printed."""
    done = run(f"{UPSCALE} b.png >&-; cmp b.png <({UPSCALE} c.png >/dev/null; cat c.png)")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_reader_that_leaves_ends_the_command_quietly(run: Run) -> None:
    done = run("sr_core models | head -0; exit ${PIPESTATUS[0]}")
    assert (done.returncode in (0, 141), done.stderr) == (True, b"")
    done = run("sr_core upscale none.png b.png 2> >(head -0)")
    assert done.returncode == 1


def test_a_full_disk_behind_standard_output_is_a_sentence(run: Run) -> None:
    done = run("sr_core models >/dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: The system refused ([Errno 28] No space left")


def test_tables_are_printed_on_an_old_terminal(run: Run) -> None:
    done = run("sr_core table", PYTHONIOENCODING="cp437")
    assert (done.returncode, done.stderr) == (0, b"")


def test_events_are_utf8_whatever_the_terminal_says(run: Run, tmp_path: Path) -> None:
    line = "sr_core search --scale 4 --engine onnx --trials 1 --out r.json --events"
    done = run(line, PYTHONIOENCODING="cp1252")
    first = json.loads(done.stdout.splitlines()[0].decode())
    assert "192×192" in first["crops"]["about"]
    assert (tmp_path / "r.json").is_file()
    done = run(r"sr_core search --scale 4 --trials 1 --out $'a.png/\xff.json' --events")
    (failure,) = map(json.loads, done.stdout.splitlines())
    assert failure["event"] == "error"
