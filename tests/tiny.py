"""A small but complete precomputed folder, and pictures drawn for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from safetensors.numpy import save_file

from sr_core.catalogue.store import Catalogue, bicubic_id
from sr_core.catalogue.writer import changing, install_supernet, write_quality
from sr_core.network.candidate import TAIL_SCHEMES, WIDTHS
from sr_core.network.colour import Colour
from sr_core.network.weights import SupernetSpec, SupernetWeights, write_supernet
from sr_core.quality.datasets import downscale, read_image
from sr_core.quality.metrics import PROTOCOL
from sr_core.results.quality import Quality

WIDTH, CELLS = 16, 2
SOME_WIDTHS = (8, 12, 32)
"""Channels for tests of many combinations: the smallest, an odd number of groups, the largest."""


def write_manifest(root: Path) -> None:
    """Seal `root` as it is now, whoever wrote into it."""
    with changing(root):
        pass


def weights(spec: SupernetSpec, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Random tensors of a supernet that maps colours in 0..1 to colours mostly in 0..1."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, shape in spec.weight_shapes().items():
        gain = 0.3 if name == "input_skip" else 1.0
        spread = gain / np.sqrt(np.prod(shape[1:]))
        tensors[f"{name}.weight"] = rng.normal(0, spread, shape).astype(np.float32)
        centre = 0.5 if name == "tail" else 0.0
        tensors[f"{name}.bias"] = rng.normal(centre, 0.05, shape[0]).astype(np.float32)
    return tensors


def supernet(
    scale: int, width: int = WIDTH, cells: int = CELLS, seed: int = 0, colour: Colour = "rgb"
) -> SupernetWeights:
    """Weights of a supernet with every width and skip scheme."""
    spec = SupernetSpec(
        scale, width, cells, widths=WIDTHS, skip_schemes=TAIL_SCHEMES, colour=colour
    )
    return SupernetWeights(spec, weights(spec, seed), f"{seed:064x}")


LUMA = SupernetSpec(
    4, WIDTH, CELLS, blocks=("residual",), widths=(8, 12, 16), skip_schemes=("dense", "block"),
    colour="luma",
)  # fmt: skip
"""A family with all that the first ones did not have."""


def save_supernet(path: Path, scale: int, seed: int = 0) -> Path:
    """A supernet file with its descriptor, as a training run leaves it."""
    return save_spec(path, SupernetSpec(scale, WIDTH, CELLS), seed)


def save_spec(path: Path, spec: SupernetSpec, seed: int = 0) -> Path:
    """A supernet file of any family with its descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    described = {
        "training": [{"command": "drawn at random", "from_step": 0, "to_step": 7}],
        "data_sha256": "0" * 64,
        "validation_crops_sha256": "0" * 64,
    }
    write_supernet(path, spec, weights(spec, seed), described)
    return path


def write_root(root: Path) -> None:
    """Supernets x2 and x4, made-up results of every model and of bicubic, the manifest."""
    for scale in (2, 4):
        run = save_supernet(root / f"supernets/x{scale}.safetensors", scale, seed=scale)
        install_supernet(root, run)  # in its place, which adds the licence note
    write_manifest(root)
    identities = [model.id for model in Catalogue(root).models()] + [bicubic_id(2), bicubic_id(4)]
    write_quality(
        root,
        [
            Quality(
                model_id=identity,
                image_set=image_set,
                image_set_sha256="0" * 64,
                protocol=PROTOCOL,
                n=5,
                psnr_y=20 + index / 10,
                ssim_y=0.5 + index / 100,
            )
            for index, identity in enumerate(identities)
            for image_set in ("Set5", "Set14", "BSD100")
        ],
    )
    write_manifest(root)


def add_luma(root: Path) -> None:
    """Put the supernet of `LUMA` into `root`, and the moments that refit its input skip."""
    run = save_spec(root / "supernets/x4-luma.safetensors", LUMA, seed=7)
    install_supernet(root, run)
    save_moments(root)
    write_manifest(root)


def save_moments(root: Path) -> None:
    """Second moments of random patches, x2 and x4."""
    values = np.random.default_rng(0).uniform(0, 1, (200, 76))
    values[:, -1] = 1
    moments = values.T @ values / len(values)
    save_file({"x2": moments, "x4": moments}, root / "supernets/moments.safetensors")


def drawn(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB picture with a gradient, sharp edges and a little noise."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, width)[None, :, None] + np.linspace(0, 50, height)[:, None, None]
    noisy = ramp + rng.uniform(0, 5, (height, width, 3))
    image = Image.fromarray(noisy.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        draw.rectangle((x, y, x + width // 3, y + height // 4), fill=colour)
    return image


def save_drawn(path: Path, width: int, height: int, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn(width, height, seed).save(path)
    return path


def save_photos(folder: Path) -> Path:
    """Training images from two sources, and validation images; all large enough for x4."""
    for index in range(6):
        source = "few" if index < 2 else "many"
        save_drawn(folder / f"train/{source}/{index}.png", 70 + index, 60, seed=index)
    for index in range(2):
        save_drawn(folder / f"val/{index}.png", 192, 200, seed=10 + index)
    return folder


def save_benchmark(folder: Path, scale: int) -> Path:
    """Set5, Set14 and BSD100 of two, one and one images, with their LR images."""
    names = ("Set5/HR/a", "Set5/HR/b", "Set14/HR/a", "BSD100/HR/a")
    for seed, name in enumerate(names):
        hr = save_drawn(folder / f"{name}.png", 49 + seed, 42, seed)
        lr = folder / f"{name.replace('HR', f'LRx{scale}')}.png"
        lr.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(downscale(read_image(hr), scale)[0]).save(lr)
    return folder
