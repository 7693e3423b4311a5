"""A rival's weights on disk, and as the network that runs."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from sr_core.errors import CatalogueError
from sr_core.network.candidate import SCALES
from sr_core.rivals.arch import ARCHITECTURES
from sr_core.rivals.module import RivalNet
from sr_core.rivals.weights import assemble, file_name, read_rival, write_rival
from tests.engine.networks import Reference, images
from tests.rivals.stored import described, random_tensors

ARCH = ARCHITECTURES["sesr-m5"]


@pytest.mark.parametrize(("name", "scale"), list(product(ARCHITECTURES, SCALES)))
@pytest.mark.parametrize("published", [False, True])
def test_what_runs_is_what_was_trained(name: str, scale: int, published: bool) -> None:
    arch = ARCHITECTURES[name]
    net = RivalNet(arch, scale, published=published)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5).add_(0.01 * torch.randn(parameter.shape))
        lr = images(5, 7, channels=net.layout.colours)
        expected = net(torch.from_numpy(lr)).numpy()
    result = Reference(assemble(arch, scale, net.fold(), published=published)).run(lr)
    np.testing.assert_allclose(result, expected, atol=1e-5 * max(1, np.abs(expected).max()))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / file_name(ARCH, 2)
    write_rival(path, ARCH, 2, random_tensors(ARCH, 2), described(ARCH))
    return path


def test_a_rival_survives_the_disk(stored: Path) -> None:
    rival = read_rival(stored)
    assert rival.id == f"sesr-m5-x2-{rival.descriptor.weights_sha256[:8]}"
    assert rival.descriptor.params == rival.layout.params
    assert rival.validation_psnr_db == described(ARCH)["validation_psnr_y_db"][ARCH.name]
    tensors = random_tensors(ARCH, 2)
    for layer in rival.network.layers[:-1]:  # the last adds the image
        assert np.array_equal(layer.weight, tensors[f"{layer.name}.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "vdsr"}, "has no validation PSNR of vdsr"),
        ({"scale": 3}, "is of another network. It is of sesr-m5 x3"),
        ({"weights_sha256": "0" * 64}, "is not the file that"),
        ({"training": []}, "is damaged .training: "),
        ({"more": 1}, "is damaged .more: "),
    ],
    ids=str,
)
def test_a_wrong_descriptor_is_refused(stored: Path, changes: dict[str, Any], message: str) -> None:
    path = stored.with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CatalogueError, match=message):
        read_rival(stored)


def test_damaged_weights_are_refused(stored: Path) -> None:
    stored.write_bytes(stored.read_bytes()[:100])
    with pytest.raises(CatalogueError, match="damaged"):
        read_rival(stored)
    stored.unlink()
    with pytest.raises(CatalogueError, match="is missing"):
        read_rival(stored)


def test_other_tensors_are_refused(stored: Path) -> None:
    tensors = random_tensors(ARCH, 2)
    tensors["head.bias"][3] = np.nan
    write_rival(stored, ARCH, 2, tensors, described(ARCH))
    with pytest.raises(CatalogueError, match=r"head.bias should be finite float32 \(16,\)"):
        read_rival(stored)
    del tensors["head.bias"]
    write_rival(stored, ARCH, 2, tensors, described(ARCH))
    with pytest.raises(CatalogueError, match="fit sesr-m5: lacks head"):
        read_rival(stored)
