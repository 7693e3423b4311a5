"""Which module may import which: read from the sources, so that no import order hides anything."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests import tiny

REPOSITORY = Path(__file__).parents[1]
SOURCES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((REPOSITORY / "sr_core").rglob("*.py"))
}
LAYERS = (
    (
        "errors",
        "files",
        "machine",
        "schema",
        "published",
        "engine_results",
        "rival_results",
        "ablation_results",
        "search_results",
    ),
    ("checks",),
    ("candidate",),
    ("layers", "presets", "notation"),
    ("pruning.schemes",),
    ("supernet.weights", "supernet.extract", "supernet.sampling"),
    ("plain", "rivals.arch"),
    ("training.settings",),
    ("supernet.settings", "pruning.settings", "rivals.settings", "rivals.weights"),
    ("runtime", "engine", "quality.metrics", "quality.datasets", "quality.benchmark"),
    ("latency.profile", "latency.work", "latency.estimate", "latency.own"),
    ("search.records", "final"),  # what the store reads
    ("training",),
    ("supernet",),  # the rest of it: training
    ("pruning",),
    ("install", "manifest"),
    ("store",),
    ("verify",),
    ("quality", "bench", "bench_page", "latency"),  # of quality the rest: publish, table
    ("bench_engine", "bench_engine_nets"),
    ("search",),
    ("rivals", "bench_rivals", "bench_ablation", "bench_samplers", "bench_workers"),
    (
        "cli_train",
        "cli_latency",
        "cli_search",
        "cli_prune",
        "cli_bench",
        "cli_bench_search",
        "cli_engine",
    ),
    ("cli", "ui"),
    ("__main__",),
)
"""From the bottom to the top; a module imports from its own layer or from below."""
WITH_TORCH = {
    "sr_core.supernet.network", "sr_core.supernet.train", "sr_core.training.loop",
    "sr_core.pruning.network", "sr_core.pruning.finetune", "sr_core.pruning.ratio_search",
    "sr_core.training.checkpoint", "sr_core.rivals.blocks", "sr_core.rivals.network",
    "sr_core.rivals.train",
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


def rank(module: str) -> int:
    """The layer of a module: that of the longest name it starts with."""
    matching = [
        (len(name), index)
        for index, names in enumerate(LAYERS)
        for name in names
        if f"{module}.".startswith(f"sr_core.{name}.")
    ]
    assert matching, f"{module} has no place in LAYERS"
    return max(matching)[1]


MODULES = [module for module, path in SOURCES.items() if path.name != "__init__.py"]


def test_the_reader_of_imports_sees_them() -> None:
    assert "sr_core.candidate" in own_imports("sr_core.layers")
    assert "sr_core.training.curve" in own_imports("sr_core.training.loop")
    assert "sr_core.supernet.train" in own_imports("sr_core.cli_train")
    assert "sr_core.supernet.train" not in imports("sr_core.cli_train", at_import=True)
    assert "torch" in imports("sr_core.supernet.network", at_import=True)


def test_vocabulary_and_cost_stand_alone() -> None:
    assert own_imports("sr_core.candidate") == {"sr_core.errors", "sr_core.checks"}
    assert own_imports("sr_core.layers") <= {"sr_core.errors", "sr_core.candidate"}
    for module in ("sr_core.errors", "sr_core.checks", "sr_core.candidate", "sr_core.layers"):
        foreign = {name.split(".")[0] for name in imports(module)} - {"sr_core"}
        assert foreign <= set(sys.stdlib_module_names), module


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_downwards(module: str) -> None:
    for imported in own_imports(module):
        assert rank(imported) <= rank(module), f"{module} imports {imported}, which is above it"


def test_there_are_no_cycles() -> None:
    TopologicalSorter({module: own_imports(module) for module in SOURCES}).prepare()


def test_only_the_page_knows_the_page() -> None:
    for module in SOURCES:
        if not module.startswith("sr_core.ui"):
            for imported in imports(module):
                assert not imported.startswith(("gradio", "sr_core.ui")), f"{module}: {imported}"


def test_packages_do_nothing_at_import() -> None:
    for module, path in SOURCES.items():
        if path.name == "__init__.py":
            assert imports(module) == set(), module


@pytest.mark.parametrize("module", MODULES)
def test_torch_stays_in_training(module: str) -> None:
    torches = {"torch", "torchvision", *WITH_TORCH}
    at_import = {name for name in imports(module, at_import=True) if name.split(".")[0] == "torch"}
    assert bool(at_import) == (module in WITH_TORCH), at_import
    if module not in WITH_TORCH:
        assert not imports(module, at_import=True) & torches


def test_using_the_library_loads_neither_torch_nor_gradio(tiny_root: Path, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from PIL import Image
from sr_core import store
from sr_core.quality import benchmark, datasets, publish, table
from sr_core.runtime import image, upscale
from sr_core.verify import verify

root, folder = map(Path, sys.argv[1:])
catalogue = store.Catalogue(root)
assert verify(catalogue) == []
upscaler = upscale.Upscaler(catalogue.network(catalogue.models(4)[0].candidate), threads=1)
picture = image.open_image(folder / "a.png", max_pixels=10_000)
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
