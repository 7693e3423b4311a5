"""A final model survives its file, whatever the scheme; a damaged one is refused in a sentence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from sr_core.catalogue.final import checked_name, read_final, reproduction, write_final
from sr_core.errors import CatalogueError
from sr_core.files import sha256
from sr_core.network.blocks import BLOCKS, Scheme
from sr_core.network.candidate import Candidate, LayerPruning, uniform
from sr_core.network.extract import extract
from sr_core.network.notation import from_text, to_text
from tests import tiny

SUPERNET = tiny.supernet(4)
SCHEMES: tuple[Scheme, ...] = ("dense", "channel", "block", "pattern", "unstructured")
MIXED = from_text("x4c16_wc50b30p70_rc25u60_tb40")
DESCRIBED: dict[str, Any] = {
    "supernet_sha256": SUPERNET.sha256,
    "training": [{"command": "python -m sr_core finetune --model a"}],
    "data_sha256": "1" * 64,
    "validation_crops_sha256": "2" * 64,
    "validation_psnr_y_db": {"once_for_all": 28.0, "fine_tuned": 28.5},
}
Array = NDArray[np.float32]
Tensors = dict[str, Array]


def saved(folder: Path, candidate: Candidate = MIXED) -> Path:
    path = folder / "final.safetensors"
    write_final(path, extract(tiny.supernet(4, cells=len(candidate.cells)), candidate), DESCRIBED)
    return path


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("block", [name for name in BLOCKS if BLOCKS[name].convs])
@pytest.mark.parametrize("ratio", [0.56, 0.8])
def test_masks_are_found_again(block: Any, scheme: Scheme, ratio: float, tmp_path: Path) -> None:
    """Also where the largest magnitudes sit elsewhere once the weights have moved."""
    wish = uniform(scale=4, width=16, blocks=(block,), scheme=scheme, ratio=ratio, prune_tail=True)
    network, rng = extract(tiny.supernet(4, cells=1), wish), np.random.default_rng(0)
    for layer in network.layers:  # as after fine-tuning: another order of magnitudes
        layer.weight[:] *= rng.uniform(0.001, 3, layer.weight.shape).astype(np.float32)
    path = tmp_path / "final.safetensors"
    digest = write_final(path, network, DESCRIBED)
    again = read_final(path).network
    assert again.candidate == wish
    assert again.model_id == f"{wish.id}-{digest[:8]}"
    for one, two in zip(network.layers, again.layers, strict=True):
        assert (one.name, one.pruning, one.relu) == (two.name, two.pruning, two.relu)
        assert (one.mask == two.mask).all(), one.name
        assert (one.weight == two.weight).all()
        assert (one.bias == two.bias).all()


def test_descriptor_tells_the_whole_story(tmp_path: Path) -> None:
    path = saved(tmp_path)
    described = json.loads(path.with_suffix(".json").read_text())
    assert Candidate.from_json(described["candidate"]) == MIXED
    assert described["network"] == to_text(MIXED)
    assert described["weights_sha256"] == sha256(path)
    assert described["reproduction"] == "python -m sr_core finetune --model a"
    assert described.items() >= DESCRIBED.items()
    assert saved(tmp_path / "again").read_bytes() == path.read_bytes()


def test_reproduction_is_the_settings_that_a_resumed_run_ended_with() -> None:
    history = [
        {"command": "A", "continues": "nothing"},
        {"command": "B --steps 1", "continues": "weights"},
        {"command": "B --steps 2 --resume", "continues": "checkpoint"},
    ]
    assert reproduction(history) == "A && B --steps 2"
    phases = [
        {"command": "prune --steps 1", "continues": "nothing"},
        {"command": "prune --steps 1", "continues": "first phase"},
        {"command": "prune --steps 2 --resume", "continues": "checkpoint"},
    ]
    assert reproduction(phases) == "prune --steps 2"
    assert reproduction([*history[:2], history[1]]) == "A && B --steps 1 && B --steps 1"


def reworked(path: Path, change: Callable[[Tensors], None]) -> None:
    """Change the tensors, and the checksum in the descriptor with them."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    described = json.loads(path.with_suffix(".json").read_text())
    described["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(described))


def swap(name: str, make: Callable[[Array], Any], to: str = "") -> Callable[[Tensors], None]:
    """Put `make` of a tensor in its place, or as `to` beside it."""

    def change(tensors: Tensors) -> None:
        tensors[to or name] = np.ascontiguousarray(make(tensors[name]))

    return change


def fill(name: str) -> Callable[[Tensors], None]:
    return swap(name, lambda tensor: np.where(tensor == 0, np.float32(1e-3), tensor))


def drop(tensors: Tensors) -> None:
    del tensors["head.bias"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, "the file lacks head.bias"),
        (swap("head.bias", np.copy, to="extra"), "the file has an unknown extra"),
        (
            swap("head.bias", lambda bias: bias[:4]),
            r"head.bias should be finite float32 \(16,\), got float32 \(4,\)",
        ),
        (
            swap("head.bias", lambda bias: bias.astype(np.float64)),
            "head.bias should be finite float32",
        ),
        (
            swap("head.bias", lambda bias: bias * np.float32(np.nan)),
            "head.bias should be finite float32",
        ),
        (fill("cells.0.wide.linear.weight"), r"wide.linear has weights outside .* \(block 30"),
        (fill("cells.0.wide.conv.weight"), r"wide.conv has weights outside .* \(pattern 70"),
        (fill("cells.1.residual.conv2.weight"), r"residual.conv2 has weights outside .* keeps 691"),
        (fill("tail.weight"), r"tail has weights outside its mask, .* \(block 40.00%\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, change: Callable[[Tensors], None], message: str
) -> None:
    path = saved(tmp_path)
    reworked(path, change)
    with pytest.raises(
        CatalogueError, match=f"does not fit the candidate in final.json: .*{message}"
    ):
        read_final(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights_sha256": "0" * 64}, "is not the file that final.json describes"),
        ({"weights_sha256": 1}, r"final.json is damaged \(weights_sha256: "),
        ({"training": []}, r"final.json is damaged \(training: "),
        ({"validation_psnr_y_db": {"fine_tuned": "good"}}, "damaged .validation_psnr_y_db"),
        ({"surprise": 1}, r"damaged \(surprise: "),
        ({"network": "x4c16_2w"}, r"the candidate is off \(it is x4c16_wc50"),
        ({"scale": 2}, "the candidate is off"),
        ({"candidate": {"scale": 4}}, "the candidate is off"),
        ({"candidate": uniform(scale=4, width=24, blocks=("wide",)).to_json()}, "is off"),
    ],
)
def test_damaged_descriptors_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = saved(tmp_path)
    described = json.loads(path.with_suffix(".json").read_text()) | changes
    path.with_suffix(".json").write_text(json.dumps(described))
    with pytest.raises(CatalogueError, match=message):
        read_final(path)


def test_missing_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(CatalogueError, match=r"final.json is damaged \(the file: "):
        read_final(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(CatalogueError, match=r"final.json is missing: restore it beside"):
        read_final(path)
    path = saved(tmp_path)
    path.write_bytes(b"no tensors")
    with pytest.raises(CatalogueError, match=r"final.safetensors is damaged"):
        read_final(path)
    path.unlink()
    with pytest.raises(CatalogueError, match=r"final.safetensors is missing"):
        read_final(path)


@pytest.mark.parametrize("name", ["", "X4", "a b", "../a", "a" * 41, "-a", "a_b"])
def test_names_are_plain(name: str) -> None:
    assert checked_name("x4-fast-2") == "x4-fast-2"
    with pytest.raises(CatalogueError, match="cannot be called"):
        checked_name(name)


def test_removed_channels_are_gone_from_the_file(tmp_path: Path) -> None:
    tensors = load_file(saved(tmp_path))
    expand, linear = (tensors[f"cells.0.wide.{name}.weight"] for name in ("expand", "linear"))
    assert expand.shape == (48, 16, 1, 1)
    assert linear.shape == (12, 48, 1, 1)
    assert (linear == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert LayerPruning("block", 0.3) == MIXED.cells[0].layers[1]
