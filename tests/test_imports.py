"""Which module may import which: read from the sources, so that no import order hides anything."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from sr_core.files import REPOSITORY
from tests import tiny

SOURCES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((REPOSITORY / "sr_core").rglob("*.py"))
}
ORDER = (
    "errors, machine, options, streams < files < results < network < engine < runtime < "
    "quality, latency < training < supernet, rivals < catalogue < pruning, search < bench, report"
    " < cli < ui"
)
"""Each folder of sr_core (and each of its modules) imports only what stands left of it."""
LOOSE = ("errors", "machine", "options", "streams", "files", "__main__")
WITH_TORCH = {
    "sr_core.supernet.module", "sr_core.supernet.train", "sr_core.training.loop",
    "sr_core.training.precision", "sr_core.training.colour", "sr_core.training.loss",
    "sr_core.training.optimizers",
    "sr_core.pruning.module", "sr_core.pruning.finetune", "sr_core.pruning.ratio_search",
    "sr_core.pruning.gradual",
    "sr_core.training.checkpoint", "sr_core.rivals.blocks", "sr_core.rivals.module",
    "sr_core.rivals.train", "sr_core.bench.precision",
}  # fmt: skip


def imports(module: str, *, at_import: bool = False) -> set[str]:
    """Full names of what a module imports, anywhere or (`at_import`) outside its functions."""
    tree = ast.parse(SOURCES[module].read_text())
    found: set[str] = set()
    for node in _outside_functions(tree) if at_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: import by full name"
            assert node.module is not None
            # `from package import module` imports the module; `from module import name` does not.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & SOURCES.keys()) or {node.module}
    return found


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _outside_functions(child)


def own_imports(module: str) -> set[str]:
    return imports(module) & SOURCES.keys()


def folder(module: str) -> str:
    """`latency` of `sr_core.latency.estimate`, `errors` of `sr_core.errors`."""
    return module.split(".")[1]


RANK = {name: rank for rank, names in enumerate(ORDER.split(" < ")) for name in names.split(", ")}


MODULES = [module for module, path in SOURCES.items() if path.name != "__init__.py"]


def test_the_reader_of_imports_sees_them() -> None:
    assert "sr_core.network.candidate" in own_imports("sr_core.network.layers")
    assert "sr_core.training.curve" in own_imports("sr_core.training.loop")
    assert "sr_core.supernet.train" in own_imports("sr_core.cli.train")
    assert "sr_core.supernet.train" not in imports("sr_core.cli.train", at_import=True)
    assert "torch" in imports("sr_core.supernet.module", at_import=True)


def test_vocabulary_and_cost_stand_alone() -> None:
    names = ("checks", "blocks", "colour")
    below = {"sr_core.errors", *(f"sr_core.network.{name}" for name in names)}
    assert own_imports("sr_core.network.candidate") <= below
    assert own_imports("sr_core.network.layers") <= below | {"sr_core.network.candidate"}
    for module in (
        "sr_core.errors",
        "sr_core.network.checks",
        "sr_core.network.blocks",
        "sr_core.network.colour",
        "sr_core.network.candidate",
        "sr_core.network.layers",
    ):
        foreign = {name.split(".")[0] for name in imports(module)} - {"sr_core"}
        assert foreign <= set(sys.stdlib_module_names), module


def test_every_folder_has_its_place() -> None:
    assert {folder(module) for module in MODULES} - {"__main__"} == set(RANK)
    assert {m for m in MODULES if m.count(".") == 1} == {f"sr_core.{name}" for name in LOOSE}


@pytest.mark.parametrize("module", [m for m in MODULES if m != "sr_core.__main__"])
def test_folders_import_only_what_stands_left_of_them(module: str) -> None:
    for imported in own_imports(module):
        if folder(imported) != folder(module):
            assert RANK[folder(imported)] < RANK[folder(module)], f"{module} imports {imported}"


def test_there_are_no_cycles() -> None:
    TopologicalSorter({module: own_imports(module) for module in SOURCES}).prepare()


def test_the_page_does_not_know_the_command_line() -> None:
    for module in MODULES:
        if module.startswith("sr_core.ui"):
            assert not any(name.startswith("sr_core.cli") for name in imports(module)), module


def test_only_the_page_knows_the_page() -> None:
    for module in SOURCES:
        if not module.startswith("sr_core.ui"):
            for imported in imports(module):
                assert not imported.startswith(("gradio", "sr_core.ui")), f"{module}: {imported}"


def test_packages_do_nothing_at_import() -> None:
    for module, path in SOURCES.items():
        if path.name == "__init__.py" and module != "sr_core":
            assert imports(module) == set(), module


def test_the_public_names_load_on_first_use() -> None:
    """`import sr_core` is light, and what it offers is what the modules define."""
    code = """
import sys
import sr_core
heavy = {"numpy", "onnxruntime", "PIL", "pydantic", "torch", "gradio", "optuna"}
print(sorted(heavy & sys.modules.keys()), [m for m in sys.modules if m.startswith("sr_core.")])
print(all(getattr(sr_core, name).__name__ == name for name in sr_core.__all__))
print(sorted({"torch", "gradio", "optuna", "pandas"} & sys.modules.keys()))
print(set(sr_core.__all__) <= set(dir(sr_core)), hasattr(sr_core, "nothing"))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[] ['sr_core.machine']", "True", "[]", "True False"]


def test_nothing_is_reported_and_nothing_is_left_in_the_home_folder(
    tiny_root: Path, tmp_path: Path
) -> None:
    """As outside CI, whose variables keep ONNX Runtime quiet."""
    code = """
import os
import sys
from pathlib import Path
import sr_core

names = ("ORT_DISABLE_TELEMETRY", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY")
print(*(os.environ.get(name) for name in names))
catalogue = sr_core.Catalogue(Path(sys.argv[1]))
sr_core.Upscaler(catalogue.network(catalogue.find("x4-wide")), threads=1)
print("onnxruntime" in sys.modules, sorted(p.name for p in Path.home().rglob("*")))
from huggingface_hub import constants
from gradio import analytics
import sr_core.ui.server
print(constants.HF_HUB_DISABLE_TELEMETRY, analytics.analytics_enabled())
"""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", code, tiny_root],
        capture_output=True, text=True, check=True, cwd=REPOSITORY,
        env=kept | {"HOME": str(home), "USERPROFILE": str(home)},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["1 False 1", "True []", "True False"]


def test_who_sets_the_variables_is_heard() -> None:
    code = "import os, sr_core; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY,
        env=os.environ | {"ORT_DISABLE_TELEMETRY": "0"},
    )  # fmt: skip
    assert done.stdout == "0\n"


@pytest.mark.parametrize("module", MODULES)
def test_torch_stays_in_training(module: str) -> None:
    torches = {"torch", "torchvision", *WITH_TORCH}
    at_import = {name for name in imports(module, at_import=True) if name.split(".")[0] == "torch"}
    assert bool(at_import) == (module in WITH_TORCH), at_import
    if module not in WITH_TORCH:
        assert not imports(module, at_import=True) & torches


@pytest.mark.parametrize("module", [m for m in MODULES if m.endswith((".settings", ".options"))])
def test_the_command_line_lists_its_options_without_slow_libraries(module: str) -> None:
    found, waiting = set[str](), [module]
    while waiting:
        new = imports(waiting.pop(), at_import=True) - found
        found |= new
        waiting += new & SOURCES.keys()
    assert not {name.split(".")[0] for name in found} & {"optuna", "sklearn", "scipy", "torch"}


def test_using_the_library_loads_neither_torch_nor_gradio(tiny_root: Path, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from PIL import Image
from sr_core.catalogue import publish, store
from sr_core.report import tables
from sr_core.quality import benchmark, datasets
from sr_core.runtime import read, upscale
from sr_core.catalogue.verify import verify

root, folder = map(Path, sys.argv[1:])
catalogue = store.Catalogue(root)
assert verify(catalogue) == []
upscaler = upscale.Upscaler(catalogue.network(catalogue.find("x4-wide")), threads=1)
picture = read.open_image(folder / "a.png", max_pixels=10_000)
print(upscaler.upscale(picture).size)
pairs = datasets.benchmark_pairs(folder, None, 4)
print(benchmark.score(pairs, benchmark.network_upscale(upscaler.upscale), scale=4).n)
print(sorted({"torch", "gradio"} & sys.modules.keys()))
"""
    tiny.save_drawn(tmp_path / "a.png", 40, 32)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, tiny_root, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["(160, 128)", "1", "[]"]
