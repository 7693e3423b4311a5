"""The commands of `engine`: build a library, or see which one is used."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import changing, write_file
from sr_core.engine.build import build_here, build_shipped, own_path
from sr_core.engine.library import Library, self_test
from sr_core.errors import EngineError
from sr_core.runtime.choice import runtime_name


def add_build_options(parser: argparse.ArgumentParser) -> None:
    """Add for which computers to build."""
    parser.add_argument(
        "--shipped", action="store_true",
        help="make the shipped libraries instead, in the precomputed folder (needs ziglang)",
    )  # fmt: skip


def run_build(args: argparse.Namespace) -> int:
    """Run `engine build`: compile and test a library for this computer, or the shipped ones."""
    if args.shipped:
        for path in _ship(args.root):
            print(path)
        return 0
    path = build_here()
    if fault := self_test(path):
        path.unlink()
        raise EngineError(f"The library built for this computer does not work ({fault}).")
    print(f"{path}: {runtime_name(Library(path))}")
    return 0


def _ship(root: Path) -> list[Path]:
    """Compile the shipped libraries, then put them all into `root`."""
    with TemporaryDirectory() as folder:
        libraries = {path.name: path.read_bytes() for path in build_shipped(Path(folder))}
    with changing(root):
        for name, data in libraries.items():
            write_file(root / "engine" / name, data)
    return [root / "engine" / name for name in libraries]


def run_status(args: argparse.Namespace) -> int:
    """Run `engine status`: test the library in use, or say why there is none (exit code 1)."""
    catalogue = Catalogue(args.root)
    library, problem = catalogue.engine, catalogue.engine_problem
    if library and (fault := self_test(library.path)):
        problem = f"{library.path.name} does not work on this computer ({fault})."
    status = {
        "library": str(library.path) if library else None,
        "built_here": library.path == own_path() if library else None,
        "runtime": runtime_name(library) if library else None,
        "floats_per_vector": library.lanes if library else None,
        "problem": problem,
    }
    if args.json:
        print(json.dumps(status, indent=1))
    elif library and not problem:
        origin = "built here" if status["built_here"] else "shipped"
        print(
            f"{status['runtime']}: {library.lanes} floats in a vector, self-test passed\n"
            f"{library.path} ({origin})"
        )
    else:
        print(f"ONNX Runtime computes instead. {problem}")
    return 1 if problem else 0
