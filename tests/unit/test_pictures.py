"""A picture is the same whichever way it comes in, and a written path means one file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmforget.benchmark.files import find_image
from mmforget.benchmark.images import ImageValue, from_file, image_fault, open_image
from mmforget.benchmark.rows import check_rows, make_dataset
from mmforget.errors import BadData, UserError
from mmforget.evaluation.undecoded import undecoded
from mmforget.lm.images import ImageReader
from mmforget.pictures import ending_alike, to_rgb

RAMP = np.linspace(0, 1, 8 * 4).reshape(4, 8)
"""Brightness of every pixel of a picture of 8 x 4, from black to white."""
GREY = np.rint(RAMP * 255).astype(np.uint8)


def grey() -> Image.Image:
    return Image.fromarray(GREY)


def turned() -> tuple[Image.Image, Image.Exif]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return grey().convert("RGB"), exif


def save_turned(path: Path) -> np.ndarray:
    """EXIF orientation 6: the camera was held upright, so that the first row is the right column."""
    picture, exif = turned()
    picture.save(path, exif=exif)
    return np.rot90(GREY, k=-1)


def save_16_bit(path: Path) -> np.ndarray:
    Image.fromarray(np.rint(RAMP * 65535).astype(np.uint16)).save(path)
    return GREY


def save_floats(path: Path) -> np.ndarray:
    Image.fromarray(RAMP.astype(np.float32)).save(path)
    return GREY


def save_floats_to_255(path: Path) -> np.ndarray:
    Image.fromarray((RAMP * 255).astype(np.float32)).save(path)
    return GREY


def save_palette(path: Path) -> np.ndarray:
    grey().convert("P", palette=Image.Palette.ADAPTIVE).save(path)
    return GREY


def save_transparent(path: Path) -> np.ndarray:
    grey().convert("RGBA").save(path)
    return GREY


def save_grey_transparent(path: Path) -> np.ndarray:
    grey().convert("LA").save(path)
    return GREY


def save_cmyk(path: Path) -> np.ndarray:
    grey().convert("RGB").convert("CMYK").save(path)
    return GREY


def save_black_and_white(path: Path) -> np.ndarray:
    picture = Image.fromarray(RAMP > 0.5)
    picture.save(path)
    return np.where(RAMP > 0.5, 255, 0)


def save_32_bit(path: Path) -> np.ndarray:
    Image.fromarray(np.rint(RAMP * 65535).astype(np.int32)).save(path)
    return GREY


WAYS: dict[str, tuple[str, Callable[[Path], np.ndarray]]] = {
    "turned.png": ("png", save_turned),
    "16bit.png": ("png", save_16_bit),
    "16bit.tif": ("tif", save_16_bit),
    "32bit.tif": ("tif", save_32_bit),
    "float.tif": ("tif", save_floats),
    "float255.tif": ("tif", save_floats_to_255),
    "palette.png": ("png", save_palette),
    "rgba.png": ("png", save_transparent),
    "la.png": ("png", save_grey_transparent),
    "cmyk.tif": ("tif", save_cmyk),
    "bilevel.png": ("png", save_black_and_white),
}


@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize("name", WAYS)
def test_training_stock_lm_eval_and_mmforget_see_the_same_pixels(name: str, embedded: bool, tmp_path: Path) -> None:
    path = tmp_path / name
    wanted = WAYS[name][1](path)
    value: ImageValue = {"path": None, "bytes": path.read_bytes()} if embedded else from_file(path)
    doc = {"id": "a", "subject": "a", "question": "q", "answer": "x", "images": [value]}
    check_rows([doc], source="here")
    rows = make_dataset([doc])
    kept = rows.cast_column("images", undecoded(rows.features["images"]))[0]["images"][0]
    seen = {
        "training": open_image(rows.with_format("arrow")[:]["images"].to_pylist()[0][0]),
        "stock lm_eval and the page": rows[0]["images"][0],
        "mmforget eval": ImageReader().open(kept, where="here"),
    }
    for way, picture in seen.items():
        pixels = np.asarray(picture).astype(int)
        assert picture.mode == "RGB", way
        assert pixels.shape[:2] == wanted.shape, way
        assert np.abs(pixels - wanted[..., None].astype(int)).max() <= 1, way


def test_pictures_that_a_task_hands_over_are_scaled_and_not_turned() -> None:
    wide = Image.fromarray(np.rint(RAMP * 65535).astype(np.uint16))
    assert np.array_equal(np.asarray(ImageReader().open(wide, where="here"))[..., 0], GREY)
    picture, exif = turned()
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", exif=exif)
    with Image.open(buffer) as opened:
        assert ImageReader().open(opened, where="here").size == (8, 4)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.rint(RAMP * 4095).astype(np.uint16), "from 0 to 4095"),
        ((RAMP * 400 - 100).astype(np.float32), "from -100 to 300"),
        ((RAMP * 70000).astype(np.int32), "from 0 to 70000"),
        (np.full((4, 8), np.nan, dtype=np.float32), "from nan to nan"),
    ],
)
def test_a_picture_whose_white_is_unknown_is_refused_by_name(values: np.ndarray, said: str, tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    Image.fromarray(values).save(path)
    fault = image_fault(from_file(path))
    assert fault is not None
    assert str(path) in fault
    assert said in fault
    with pytest.raises(BadData, match=r"row a: .*scan\.tif"):
        make_dataset([{"id": "a", "subject": "a", "question": "q", "answer": "x", "images": [from_file(path)]}])


def test_a_black_picture_of_16_bits_is_black() -> None:
    assert to_rgb(Image.fromarray(np.zeros((2, 2), dtype=np.uint16))).getpixel((0, 0)) == (0, 0, 0)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_of_equal_names_the_longest_matching_tail_counts(tmp_path: Path) -> None:
    touch(tmp_path, "x/a/1.png", "x/b/1.png", "y/b/1.png", "y/c/1.png")
    found = {text: find_image(f"/home/someone/{text}", folders=[tmp_path]) for text in ("x/a/1.png", "y/b/1.png")}
    assert found == {text: tmp_path / text for text in found}
    assert find_image(r"D:\faces\y\c\1.png", folders=[tmp_path]) == tmp_path / "y/c/1.png"
    with pytest.raises(UserError) as caught:
        find_image("elsewhere/b/1.png", folders=[tmp_path])
    assert f"{tmp_path}/x/b/1.png or {tmp_path}/y/b/1.png" in str(caught.value)


def test_a_folder_given_twice_is_no_ambiguity_and_hidden_files_are_none(tmp_path: Path) -> None:
    touch(tmp_path, "data/deep/1.png", "data/.cache/2.png", "data/__MACOSX/deep/._1.png", "data/deep/._1.png")
    (tmp_path / "data/deep/Thumbs.db").write_bytes(b"x")
    (tmp_path / "data/.DS_Store").write_bytes(b"x")
    folders = [tmp_path, tmp_path / "data"]
    assert find_image("/home/someone/1.png", folders=folders) == tmp_path / "data/deep/1.png"
    assert not find_image("2.png", folders=folders).is_file()
    assert not find_image("._1.png", folders=folders).is_file()


def test_a_name_must_match_whole() -> None:
    assert ending_alike("a/1.png", [Path("b/11.png"), Path("a/2.png")]) is None
