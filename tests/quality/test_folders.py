"""Folders as people have them: of Macs, with links, in the namings of DIV2K and Urban100."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr_core.errors import DatasetError
from sr_core.quality.datasets import TrainingPatches, benchmark_pairs, folder_checksum
from sr_core.quality.folders import hr_images, list_images, paired_images
from tests import tiny


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def relative(folder: Path, paths: Iterable[Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_images_are_listed_at_any_depth_by_relative_path(tmp_path: Path) -> None:
    make(tmp_path, "b.PNG", "a/z.jpg", "a/y.JPEG", "a.png/x.bmp", "notes.txt", "png")
    assert relative(tmp_path, list_images(tmp_path)) == [
        "a/y.JPEG",
        "a/z.jpg",
        "a.png/x.bmp",
        "b.PNG",
    ]


@pytest.mark.parametrize("folder", ["", "missing", "file.txt"])
def test_no_images_no_dataset(tmp_path: Path, folder: str) -> None:
    make(tmp_path, "file.txt", "._a.png", "__MACOSX/b.png")
    with pytest.raises(DatasetError, match=r"No image in|is not a folder"):
        list_images(tmp_path / folder)


def test_what_systems_add_does_not_count(tmp_path: Path) -> None:
    make(
        tmp_path, "0801.png", "._0801.png", ".DS_Store", "__MACOSX/0801.png", "Thumbs.db",
        "__MACOSX/sub/._0801.png", "desktop.ini", ".thumbnails/0801.png", "sub/@eaDir/0802.png",
        "$RECYCLE.BIN/0803.png", "sub/.hidden.png", "sub/0802.png",
    )  # fmt: skip
    assert relative(tmp_path, list_images(tmp_path)) == ["0801.png", "sub/0802.png"]


def test_a_hidden_folder_may_be_given(tmp_path: Path) -> None:
    folder = make(tmp_path / ".cache/__MACOSX", "a.png")
    assert relative(folder, list_images(folder)) == ["a.png"]


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    elsewhere, folder = make(tmp_path / "elsewhere", "in/a.png"), make(tmp_path / "set", "b/c.png")
    (folder / "a-link").symlink_to(folder / "b")  # its images are there under their real path
    (folder / "data").symlink_to(elsewhere)
    (folder / "twice").symlink_to(elsewhere / "in")
    (folder / "b/up").symlink_to(folder)
    (elsewhere / "around").symlink_to(elsewhere / "in")
    (folder / "file.png").symlink_to(folder / "b/c.png")
    found = relative(folder, list_images(folder))
    assert found == ["b/c.png", "data/in/a.png", "file.png"]
    (tmp_path / "whole").symlink_to(folder)
    assert relative(tmp_path / "whole", list_images(tmp_path / "whole")) == found


def test_a_broken_link_to_an_image_is_no_silence(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    assert relative(tmp_path, list_images(tmp_path)) == ["a.png", "b.png"]


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    make(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert relative(tmp_path, list_images(tmp_path)) == ["a.png"]


def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.png", "closed/b.png")
    plain = os.scandir

    def denied(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return plain(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", denied)
        with pytest.raises(DatasetError, match=r"closed cannot be listed \(Permission denied\)"):
            list_images(tmp_path)


def test_versions_beside_their_hr_image_are_not_hr(tmp_path: Path) -> None:
    make(
        tmp_path, "img_001_SRF_4_HR.png", "img_001_SRF_4_LR.png", "img_001_SRF_4_bicubic.png",
        "photo_HR.png", "photo_LR.png", "photo_2.png", "photo_LRx4.png", "other_LR.png",
    )  # fmt: skip
    assert relative(tmp_path, hr_images(tmp_path)) == [
        "img_001_SRF_4_HR.png", "other_LR.png", "photo_2.png", "photo_HR.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("high", "low"),
    [
        ("a.png", "a.png"),
        ("a.png", "a.PNG"),
        ("a.png", "a.bmp"),
        ("sub/a.png", "sub/a.png"),
        ("0801.png", "0801x4.png"),
        ("0801.PNG", "0801X4.png"),
        ("0801.png", "0801x4m.png"),
        ("0801.png", "X4/0801x4.png"),
        ("0801.png", "DIV2K_valid_LR_bicubic/X4/0801x4.png"),
        ("a.png", "LRx4/a.png"),
        ("HR/a.png", "LRx4/a.png"),
        ("sub/0801.png", "X4/sub/0801x4.png"),
        ("matrix4.png", "matrix4x4.png"),
        ("matrix4.png", "matrix4.bmp"),
        ("matrix2.png", "matrix2.png"),
        ("baby_HR.png", "baby_LR.png"),
        ("baby_GT.png", "baby.png"),
        ("baby.png", "baby_LRx4.png"),
        ("img_001_SRF_4_HR.png", "img_001_SRF_4_LR.png"),
        ("image_SRF_4/img_001_SRF_4_HR.png", "image_SRF_4/img_001_SRF_4_LR.png"),
        (unicodedata.normalize("NFD", "é.png"), unicodedata.normalize("NFC", "é.png")),
    ],
)
def test_partners_are_found_by_the_names_that_data_sets_have(
    tmp_path: Path, high: str, low: str
) -> None:
    hr = make(tmp_path / "hr", high, "second.png", "third.png")
    lr = make(tmp_path / "lr", low, "second.png", "third.png")
    assert (hr / high, lr / low) in paired_images(hr, lr, 4)


def test_other_scales_are_left_alone(tmp_path: Path) -> None:
    hr = make(tmp_path / "hr", "0801.png", "0802.png")
    lr = make(tmp_path / "lr", *(f"X{s}/080{n}x{s}.png" for s in (2, 3, 4) for n in (1, 2)))
    pairs = paired_images(hr, lr, 2)
    assert [low.relative_to(lr).as_posix() for _, low in pairs] == [
        "X2/0801x2.png",
        "X2/0802x2.png",
    ]
    with pytest.raises(DatasetError, match=r"lr has no LR image of 0801\.png, 0802\.png: partners"):
        paired_images(hr, make(tmp_path / "lr", "X2/0801x2.png"), 8)


def test_hr_and_lr_may_share_a_folder(tmp_path: Path) -> None:
    make(tmp_path, *(f"image_SRF_{s}/img_00{n}_SRF_{s}_{role}.png"
                     for s in (2, 4) for n in (1, 2) for role in ("HR", "LR")))  # fmt: skip
    pairs = paired_images(tmp_path, tmp_path, 4)
    assert [(high.name, low.name) for high, low in pairs] == [
        (f"img_00{n}_SRF_4_HR.png", f"img_00{n}_SRF_4_LR.png") for n in (1, 2)
    ]


def test_equal_names_in_several_folders_are_not_mixed_up(tmp_path: Path) -> None:
    hr = make(tmp_path / "hr", "a/1.png", "b/1.png")
    lr = make(tmp_path / "lr", "X4/a/1x4.png", "X4/b/1x4.png")
    assert [low.parent.name for _, low in paired_images(hr, lr, 4)] == ["a", "b"]
    (lr / "X4/a/1x4.png").unlink()
    with pytest.raises(DatasetError, match=r"has no LR image of 1\.png: "):
        paired_images(hr, lr, 4)


def test_who_lacks_a_partner_is_named(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(6)]
    hr, lr = make(tmp_path / "hr", *names), make(tmp_path / "lr", "5.png")
    with pytest.raises(
        DatasetError, match=r"lr has no LR image of 0\.png, 1\.png, 2\.png and 2 more"
    ):
        list(benchmark_pairs(hr, lr, 4))
    make(tmp_path / "lr", *names, "more.png")
    with pytest.raises(DatasetError, match=r"hr has no HR image of more\.png: partners have the"):
        list(benchmark_pairs(hr, lr, 4))


def test_training_and_evaluation_see_the_same_images(tmp_path: Path) -> None:
    data = tmp_path / "data"
    tiny.save_drawn(tmp_path / "elsewhere/a_HR.png", 48, 40)
    tiny.save_drawn(tmp_path / "elsewhere/a_LR.png", 12, 10)
    make(data, "._0801.png", "__MACOSX/source/a_HR.png")
    (data / "source").symlink_to(tmp_path / "elsewhere")
    patches = TrainingPatches(data, 4, patch=8, source_weights={"source": 2.0})
    assert patches.batch(np.random.default_rng(0), 2)[0].shape == (2, 8, 8, 3)
    (pair,) = benchmark_pairs(data, None, 4)
    assert pair.hr.shape[:2] == (40, 48)
    (pair,) = benchmark_pairs(data, data, 4)
    assert pair.lr.shape[:2] == (10, 12)
    with Image.open(data / "source/a_LR.png") as image:
        assert (pair.lr == np.asarray(image)).all()


def test_a_name_that_is_no_text_has_a_checksum(tmp_path: Path) -> None:
    make(tmp_path, os.fsdecode(b"\xff.png"))
    assert len(folder_checksum(tmp_path, list_images(tmp_path))) == 64
