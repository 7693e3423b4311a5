from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from sr_core.runtime.image import split
from sr_core.runtime.read import open_image
from tests.runtime.files import encoded, grey_profile, ink_profile
from tests.tiny import drawn

SRGB = ImageCms.createProfile("sRGB")
RGB_PROFILE = ImageCms.ImageCmsProfile(SRGB).tobytes()


def inks() -> Image.Image:
    """Patches of 8x8 pixels, so that JPEG keeps them."""
    patches = [(200, 0, 0, 0), (0, 220, 0, 0), (0, 0, 200, 0), (0, 0, 0, 128), (0, 0, 0, 0)]
    image = Image.new("CMYK", (8 * len(patches), 8))
    for index, patch in enumerate(patches):
        image.paste(patch, (8 * index, 0, 8 * index + 8, 8))
    return image


def through(profile: bytes) -> np.ndarray:
    converted = ImageCms.profileToProfile(
        inks(), ImageCms.ImageCmsProfile(io.BytesIO(profile)), SRGB, outputMode="RGB"
    )
    assert converted is not None
    return np.asarray(converted).astype(int)


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 98, "subsampling": 0}), ("TIFF", {})]
)
def test_cmyk_goes_through_the_profile_of_the_file(kind: str, options: dict[str, object]) -> None:
    content = encoded(inks(), kind, icc_profile=ink_profile(), **options)
    planes = split(open_image(io.BytesIO(content)))
    expected = through(ink_profile())
    assert np.abs(planes.pixels - expected).max() <= 6
    assert np.abs(np.asarray(inks().convert("RGB")) - expected).max() > 40
    assert planes.info["icc_profile"] is None  # the values are sRGB now


@pytest.mark.parametrize(
    "profile", [b"", b"noise", RGB_PROFILE, ink_profile()[:300], ink_profile()[:140] + bytes(400)]
)
def test_cmyk_without_a_sound_profile_is_inverted(profile: bytes) -> None:
    image = inks()
    image.info["icc_profile"] = profile
    planes = split(image)
    assert (planes.pixels == np.asarray(inks().convert("RGB"))).all()
    assert planes.info["icc_profile"] is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_profile_of_colours_is_kept_with_the_values_as_they_are(mode: str) -> None:
    image = drawn(12, 10).convert(mode)
    image.info["icc_profile"] = RGB_PROFILE
    planes = split(image)
    assert planes.info["icc_profile"] == RGB_PROFILE
    assert (planes.pixels == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_profile_of_greyscale_is_kept_with_the_values_as_they_are(mode: str) -> None:
    image = Image.new("I;16", (12, 10), 999) if mode == "I;16" else drawn(12, 10).convert(mode)
    image.info["icc_profile"] = grey_profile()
    planes = split(image)
    assert planes.info["icc_profile"] == grey_profile()
    assert (planes.pixels == np.asarray(image).reshape(10, 12, -1)[..., 0]).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "LA"])
@pytest.mark.parametrize("profile", [b"noise", RGB_PROFILE[:150], ink_profile()])
def test_damaged_profile_or_that_of_another_kind_is_dropped(mode: str, profile: bytes) -> None:
    image = drawn(12, 10).convert(mode)
    image.info["icc_profile"] = profile
    assert split(image).info["icc_profile"] is None


def test_every_byte_of_a_profile_may_be_odd() -> None:
    image = drawn(8, 8)
    for at in range(0, 300):
        image.info["icc_profile"] = RGB_PROFILE[:at] + b"\xe2" + RGB_PROFILE[at + 1 :]
        assert split(image).info["icc_profile"] in (None, image.info["icc_profile"])
