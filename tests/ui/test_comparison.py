"""Upscale and test, as the buttons do it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr_core.catalogue.store import Catalogue
from sr_core.errors import Cancelled, InvalidImage
from sr_core.network.candidate import Family
from sr_core.ui import comparison
from tests import tiny


@pytest.fixture(scope="module")
def upscalers(tiny_root: Path) -> comparison.Upscalers:
    return comparison.Upscalers(Catalogue(tiny_root))


@pytest.fixture(scope="module")
def upscaler(upscalers: comparison.Upscalers, tiny_root: Path) -> comparison.Upscaler:
    return upscalers.get(Catalogue(tiny_root).find("x4-wide"))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_upscaling_as_is_gives_no_score(upscaler: comparison.Upscaler, mode: str) -> None:
    image = tiny.drawn(20, 12)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    compared = comparison.compare([upscaler], image.convert(mode), "upscale")
    (outcome,) = compared.outcomes
    assert outcome.result.size == compared.bicubic.size == (80, 48)
    assert outcome.score is None
    assert compared.bicubic_score is None
    assert compared.truth is None
    assert comparison.view(outcome.result).mode == "RGB"


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_testing_compares_with_the_image_itself(upscaler: comparison.Upscaler, mode: str) -> None:
    compared = comparison.compare([upscaler], tiny.drawn(83, 50).convert(mode), "test")
    (outcome,) = compared.outcomes
    assert compared.lr_size == (20, 12)
    assert compared.truth is not None
    assert outcome.result.size == compared.truth.size == (80, 48)
    assert outcome.score is not None
    assert compared.bicubic_score is not None
    # The tiny network is random: bicubic must win clearly.
    assert compared.bicubic_score.psnr_y_db > outcome.score.psnr_y_db + 3


def test_networks_are_compared_in_order_on_the_same_image(
    upscalers: comparison.Upscalers, tiny_root: Path
) -> None:
    models = Catalogue(tiny_root).models(Family(4))[:3]
    chosen = [upscalers.get(model.candidate) for model in models]
    steps: list[tuple[int, int]] = []

    def report(done: int, total: int) -> None:
        steps.append((done, total))

    image = tiny.drawn(80, 48)
    compared = comparison.compare(chosen, image, "test", report=report)
    assert [outcome.candidate for outcome in compared.outcomes] == [m.candidate for m in models]
    for upscaler, outcome in zip(chosen, compared.outcomes, strict=True):
        alone = comparison.compare([upscaler], image, "test").outcomes[0]
        assert alone.result.tobytes() == outcome.result.tobytes()
        assert alone.score == outcome.score
    assert steps == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("mode", "note"),
    [
        ("RGB", ""),
        ("L", ""),
        ("RGBA", "Alpha was left out of the test."),
        ("LA", "Alpha was left out of the test."),
        ("I;16", "Tested at 8 bits."),
    ],
)
def test_what_a_test_leaves_out_is_noted(
    upscaler: comparison.Upscaler, mode: str, note: str
) -> None:
    """It changes nothing else: the score is that of the plain 8-bit image."""
    plain = tiny.drawn(83, 50).convert("L" if mode in {"L", "LA", "I;16"} else "RGB")
    image = plain.convert(mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(plain).astype(np.uint16) * 257 + 100)
    compared = comparison.compare([upscaler], image, "test")
    assert compared.note == note
    alone = comparison.compare([upscaler], plain, "test")
    assert compared.outcomes[0].score == alone.outcomes[0].score
    assert comparison.compare([upscaler], image, "upscale").note == ""


@pytest.mark.parametrize("mode", ["upscale", "test"])
@pytest.mark.parametrize("image", [
    Image.new("F", (80, 80), 0.5),
    Image.fromarray(np.full((80, 80), 70_000, np.int32)),
])  # fmt: skip
def test_both_modes_refuse_the_same(
    upscaler: comparison.Upscaler, image: Image.Image, mode: comparison.Mode
) -> None:
    with pytest.raises(InvalidImage, match=r"floating-point|more than 16 bits"):
        comparison.compare([upscaler], image, mode)


def test_an_image_too_small_to_shrink_is_refused(upscaler: comparison.Upscaler) -> None:
    with pytest.raises(InvalidImage, match=r"31x40 .* at least 32x32"):
        comparison.compare([upscaler], tiny.drawn(31, 40), "test")


def test_stopping(upscaler: comparison.Upscaler) -> None:
    with pytest.raises(Cancelled):
        comparison.compare([upscaler], tiny.drawn(20, 12), "upscale", should_stop=lambda: True)


def test_a_large_result_is_shown_by_its_centre() -> None:
    image = Image.new("RGB", (comparison.VIEW_SIDE + 200, 100))
    image.putpixel((100, 50), (255, 0, 0))
    shown = comparison.view(image)
    assert shown.size == (comparison.VIEW_SIDE, 100)
    assert shown.getpixel((0, 50)) == (255, 0, 0)


def test_transparent_pixels_are_shown_on_white() -> None:
    assert comparison.view(Image.new("RGBA", (9, 9), (0, 0, 0, 0))).getpixel((4, 4)) == (
        255,
        255,
        255,
    )


def test_sessions_are_kept_but_not_for_ever(
    upscalers: comparison.Upscalers, tiny_root: Path
) -> None:
    models = Catalogue(tiny_root).models(Family(4))[:6]
    first = upscalers.get(models[0].candidate)
    assert upscalers.get(models[0].candidate) is first
    for model in models[1:]:
        upscalers.get(model.candidate)
    assert upscalers.get(models[0].candidate) is not first
