from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr_core.errors import DatasetError
from sr_core.quality.datasets import (
    SAMPLE_CROPS,
    VALIDATION_CROP_HR,
    VALIDATION_CROPS,
    TrainingPatches,
    as_rgb,
    benchmark_pairs,
    downscale,
    folder_checksum,
    read_image,
    sample_crops,
    validation_crops,
)
from sr_core.quality.metrics import Image8
from tests.runtime.files import ORIENTATION, block, chunk, with_chunks, with_segments
from tests.tiny import drawn


def noise(rng: np.random.Generator, *shape: int) -> Image8:
    return rng.integers(0, 256, size=shape, dtype=np.uint8)


def save(image: Image8, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def flat(value: int, side: int) -> Image8:
    return np.full((side, side, 3), value, dtype=np.uint8)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "RGB", "RGBA", "P", "CMYK"])
def test_every_mode_is_read_as_grey_or_rgb(
    tmp_path: Path, mode: str, rng: np.random.Generator
) -> None:
    path = tmp_path / "image.tif"
    source = Image.fromarray(noise(rng, 6, 8, 3)).convert(mode)
    source.save(path)
    image = read_image(path)
    grey = mode in {"L", "1", "LA"}
    assert image.dtype == np.uint8
    assert (image == np.asarray(source.convert("L" if grey else "RGB"))).all()
    assert as_rgb(image).shape == (6, 8, 3)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_values_beyond_8_bits_are_refused(
    tmp_path: Path, kind: type[np.generic], rng: np.random.Generator
) -> None:
    path = tmp_path / "deep.tif"
    Image.fromarray((noise(rng, 6, 8).astype(np.float64) * 257).astype(kind)).save(path)
    with pytest.raises(
        DatasetError, match=r"deep\.tif (has more than 8 bits|cannot be read\. .* values)"
    ):
        read_image(path)


def test_exif_orientation_is_applied(tmp_path: Path, rng: np.random.Generator) -> None:
    upright, exif = noise(rng, 6, 8, 3), Image.Exif()
    exif[0x112] = 6  # to be turned clockwise by 90 degrees
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "turned.png", exif=exif)
    assert (read_image(tmp_path / "turned.png") == upright).all()


def test_png_pixels_are_read_as_they_are(tmp_path: Path, rng: np.random.Generator) -> None:
    for image in (noise(rng, 6, 8, 3), noise(rng, 6, 8)):
        assert (read_image(save(image, tmp_path / "image.png")) == image).all()


def test_unreadable_files_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    whole = save(noise(rng, 32, 32, 3), tmp_path / "whole.png").read_bytes()
    pixels = whole.index(b"IDAT")  # the 4 bytes before it are their length
    damaged = {
        "empty.png": b"",
        "text.png": b"not an image",
        "short.png": whole[: len(whole) // 2],
        "chunk.png": whole[: pixels - 4] + b"\0\0\0\x10" + whole[pixels:],
    }
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=f"{name} cannot be read"):
            read_image(tmp_path / name)


def test_metadata_never_decides_whether_pixels_are_read(tmp_path: Path) -> None:
    """The reader is the one of the page and of `upscale`."""
    exif = b"Exif\0\0" + block({ORIENTATION: (3, [6]), 271: (10, [0, -1])})
    (tmp_path / "odd.jpg").write_bytes(with_segments(drawn(20, 14), (0xE1, exif)))
    assert read_image(tmp_path / "odd.jpg").shape == (20, 14, 3)
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)))
    (tmp_path / "text.png").write_bytes(with_chunks(drawn(20, 14), text))
    assert (read_image(tmp_path / "text.png") == np.asarray(drawn(20, 14))).all()


def test_an_image_of_absurd_size_is_refused_not_decoded(tmp_path: Path) -> None:
    raw = bytearray(save(flat(0, 8), tmp_path / "bomb.bmp").read_bytes())
    raw[18:26] = (60_000).to_bytes(4, "little") * 2  # width and height in the header
    (tmp_path / "bomb.bmp").write_bytes(raw)
    with pytest.raises(DatasetError, match=r"bomb\.bmp cannot be read"):
        read_image(tmp_path / "bomb.bmp")


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_downscale_crops_from_the_top_left(scale: int, rng: np.random.Generator) -> None:
    hr = noise(rng, 25, 31, 3)
    lr, cropped = downscale(hr, scale)
    assert lr.shape == (25 // scale, 31 // scale, 3)
    assert cropped.shape == (25 // scale * scale, 31 // scale * scale, 3)
    assert (cropped == hr[: cropped.shape[0], : cropped.shape[1]]).all()


@pytest.mark.parametrize("scale", [2, 4])
def test_downscale_is_antialiased_and_centred(scale: int) -> None:
    """A ramp stays a ramp, sampled at block centres; the finest stripes turn grey."""
    ramp = np.tile(np.arange(0, 192, 2, dtype=np.uint8), (16, 1))
    lr, _ = downscale(ramp, scale)
    centres = ramp.reshape(16, -1, scale).mean(axis=2)[::scale]
    assert np.abs(lr.astype(float) - centres)[:, 2:-2].max() <= 1
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (64, 32))
    assert np.ptp(downscale(stripes, 4)[0][4:-4, 4:-4]) < 20


def test_pairs_without_lr_folder_are_downscaled(tmp_path: Path, rng: np.random.Generator) -> None:
    hr = noise(rng, 21, 30, 3)
    save(hr, tmp_path / "a.png")
    save(noise(rng, 20, 20), tmp_path / "b.png")
    colour, grey = benchmark_pairs(tmp_path, None, 4)
    assert (colour.name, grey.name) == ("a.png", "b.png")
    assert (colour.hr == hr[:20, :28]).all()
    assert (colour.lr == downscale(hr, 4)[0]).all()
    assert (grey.hr.shape, grey.lr.shape) == ((20, 20), (5, 5))


def test_pairs_with_lr_folder_crop_hr(tmp_path: Path, rng: np.random.Generator) -> None:
    hr, lr = noise(rng, 21, 23, 3), noise(rng, 10, 11, 3)
    save(hr, tmp_path / "HR/sub/a.png")
    save(lr, tmp_path / "LR/sub/a.png")
    (pair,) = benchmark_pairs(tmp_path / "HR", tmp_path / "LR", 2)
    assert (pair.lr == lr).all()
    assert (pair.hr == hr[:20, :22]).all()


@pytest.mark.parametrize(
    ("lr_shape", "message"),
    [
        ((11, 10, 3), "20x20, which is not x2 of LR 10x11"),
        ((10, 11, 3), "20x20, which is not x2 of LR 11x10"),
        ((5, 5, 3), "20x20, which is not x2 of LR 5x5"),
        ((10, 10), "both be greyscale or both RGB"),
    ],
)
def test_lr_that_does_not_fit_is_refused(
    tmp_path: Path, lr_shape: tuple[int, ...], message: str, rng: np.random.Generator
) -> None:
    save(noise(rng, 20, 20, 3), tmp_path / "HR/a.png")
    save(noise(rng, *lr_shape), tmp_path / "LR/a.png")
    with pytest.raises(DatasetError, match=message):
        list(benchmark_pairs(tmp_path / "HR", tmp_path / "LR", 2))


def test_missing_lr_is_refused(tmp_path: Path) -> None:
    save(flat(0, 20), tmp_path / "HR/a.png")
    save(flat(0, 20), tmp_path / "LR/b.png")
    with pytest.raises(DatasetError, match=r"LR has no LR image of a\.png"):
        list(benchmark_pairs(tmp_path / "HR", tmp_path / "LR", 2))


def test_folder_checksum_depends_on_names_contents_and_nothing_else(tmp_path: Path) -> None:
    def checksum(folder: str, **files: bytes) -> str:
        for name, content in files.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_bytes(content)
        return folder_checksum(tmp_path / folder, sorted((tmp_path / folder).iterdir()))

    assert checksum("one", a=b"1", b=b"2") == checksum("two", a=b"1", b=b"2")
    different = [checksum("three", a=b"1"), checksum("four", c=b"1"), checksum("five", a=b"2")]
    assert len({checksum("one"), *different}) == 4


def test_validation_crops_are_the_centres_and_deterministic(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    side = VALIDATION_CROP_HR
    images = [noise(rng, side + 10, side + 21, 3), noise(rng, side, side)]
    for index, image in enumerate(images):
        save(image, tmp_path / f"{index}.png")

    crops = validation_crops(tmp_path, 4)

    assert crops.hr.shape == (2, side, side, 3)
    assert crops.lr.shape == (2, side // 4, side // 4, 3)
    assert (crops.hr[0] == images[0][5 : 5 + side, 10 : 10 + side]).all()
    assert (crops.hr[1] == as_rgb(images[1])).all()
    assert (crops.lr[1] == downscale(crops.hr[1], 4)[0]).all()
    assert validation_crops(tmp_path, 4).checksum == crops.checksum
    assert validation_crops(tmp_path, 2).checksum != crops.checksum
    images[1][side // 2, side // 2] ^= 1
    save(images[1], tmp_path / "1.png")
    assert validation_crops(tmp_path, 4).checksum != crops.checksum


def test_validation_crops_are_spread_over_the_folder(tmp_path: Path) -> None:
    for index in range(2 * VALIDATION_CROPS):
        save(flat(index, VALIDATION_CROP_HR), tmp_path / f"{index:03}.png")
    chosen = validation_crops(tmp_path, 4).hr[:, 0, 0, 0]
    assert len(chosen) == VALIDATION_CROPS
    assert (chosen[0], chosen[-1]) == (0, 2 * VALIDATION_CROPS - 1)
    assert set(np.diff(chosen)) == {2, 3}


def test_validation_needs_large_images(tmp_path: Path) -> None:
    save(flat(0, VALIDATION_CROP_HR - 1), tmp_path / "small.png")
    with pytest.raises(DatasetError, match=r"small\.png is smaller than a 192x192"):
        validation_crops(tmp_path, 2)


def test_sample_crops_are_as_the_text_says() -> None:
    crops = sample_crops(4)
    n, side = map(int, re.findall(r"\d+", SAMPLE_CROPS)[:2])
    assert crops.hr.shape == (n, side, side, 3)
    assert sample_crops(2).lr.shape == (n, side // 2, side // 2, 3)
    assert len({crop.tobytes() for crop in crops.hr}) == n
    # Studies name it: another list of crops, or other photographs, are another data set.
    assert crops.checksum == "123b6d9de663a484af1ff8f30dc2b6b44c143d3173bf76600f28c8054674b9a7"


@pytest.mark.parametrize("scale", [2, 4])
def test_training_patches_are_aligned(tmp_path: Path, scale: int, rng: np.random.Generator) -> None:
    """On noise a shift by one pixel, or one side turned otherwise, shows everywhere."""
    save(noise(rng, 90, 80, 3) // 2 + np.uint8(64), tmp_path / "source/a.png")  # never clipped
    patches = TrainingPatches(tmp_path, scale, patch=12)
    lr, hr = patches.batch(rng, 64)
    assert lr.shape == (64, 12, 12, 3)
    assert hr.shape == (64, 12 * scale, 12 * scale, 3)
    inner = np.s_[3:-3, 3:-3]  # where downscaling a patch sees no patch border
    for small, large in zip(lr, hr, strict=True):
        again = downscale(large, scale)[0]
        assert np.abs(small[inner].astype(int) - again[inner]).max() <= 1  # rounding


def test_training_patches_come_from_everywhere_in_eight_orientations(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    image = np.zeros((8, 10, 3), dtype=np.uint8)
    image[..., 0], image[..., 1] = np.arange(0, 80, 10)[:, None], np.arange(0, 100, 10)
    save(image, tmp_path / "a.png")
    _, hr = TrainingPatches(tmp_path, 2, patch=3).batch(rng, 200)
    assert {(p[..., 0].min(), p[..., 1].min()) for p in hr} == {
        (10 * top, 10 * left) for top in (0, 2) for left in (0, 2, 4)
    }
    steps = (hr[:, 0, 1].astype(int) - hr[:, 0, 0])[:, :2]
    down = (hr[:, 1, 0].astype(int) - hr[:, 0, 0])[:, :2]
    assert len({(*a, *b) for a, b in zip(steps.tolist(), down.tolist(), strict=True)}) == 8


def test_batches_are_determined_by_the_seed(tmp_path: Path, rng: np.random.Generator) -> None:
    save(noise(rng, 40, 40, 3), tmp_path / "a.png")
    patches = TrainingPatches(tmp_path, 2, patch=8)
    one, same, other = (patches.batch(np.random.default_rng(s), 4)[1] for s in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_sources_are_drawn_by_pixels_times_weight(tmp_path: Path, rng: np.random.Generator) -> None:
    """20x20 LR pixels weighted 3, and 40x40 of weight 1: 1200 to 1600."""
    save(flat(10, 40), tmp_path / "few/a.png")
    save(flat(20, 80), tmp_path / "many/a.png")
    save(flat(30, 80), tmp_path / "never/a.png")
    patches = TrainingPatches(tmp_path, 2, patch=4, source_weights={"few": 3, "never": 0})
    values = patches.batch(rng, 2000)[1][:, 0, 0, 0]
    assert set(values.tolist()) == {10, 20}
    assert np.mean(values == 10) == pytest.approx(1200 / 2800, abs=0.04)


def test_small_images_are_left_out_of_training(tmp_path: Path, rng: np.random.Generator) -> None:
    save(flat(10, 15), tmp_path / "small.png")
    with pytest.raises(DatasetError, match="at least 16 pixels a side"):
        TrainingPatches(tmp_path, 2, patch=8)
    save(flat(20, 16), tmp_path / "large.png")
    lr, _ = TrainingPatches(tmp_path, 2, patch=8).batch(rng, 20)
    assert (lr == 20).all()


def test_unreadable_training_image_is_named(tmp_path: Path) -> None:
    save(flat(10, 32), tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"not an image")
    with pytest.raises(DatasetError, match=r"bad\.png cannot be read"):
        TrainingPatches(tmp_path, 2, patch=8)


def test_training_needs_images(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No image in"):
        TrainingPatches(tmp_path, 2, patch=8)
