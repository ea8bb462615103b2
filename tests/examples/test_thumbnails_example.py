"""The thumbnails, made as plain functions of real photographs."""

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples import thumbnails
from steeple import Cancelled, Context, Reject, Reports
from steeple.errors import InvalidArguments

PHOTOS = ["cat.jpg", "coffee.jpg", "deep-field.jpg", "photographer.png", "rocket.jpg"]


@pytest.fixture
def folder(tmp_path: Path, root: Path) -> Path:
    """The photographs of the example, to do with as one likes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in PHOTOS:
        shutil.copy2(root / "examples/photos" / name, folder)
    return folder


def _make(folder: Path, reports: Reports | None = None, **arguments: Any) -> dict[str, Any]:
    return thumbnails.make(str(folder), context=Context.testing(reports=reports), **arguments)


def _made(folder: Path, size: int = 160) -> list[str]:
    return sorted(path.name for path in (folder / f"thumbnails-{size}").iterdir() if path.is_file())


def test_each_image_gets_a_thumbnail_and_all_a_contact_sheet(folder: Path) -> None:
    result = _make(folder)

    sheet = folder / "thumbnails-160/contact-sheets/1.jpg"
    assert result == {
        "folder": str(folder),
        "thumbnails": 5,
        "made": 5,
        "up_to_date": 0,
        "contact_sheets": [str(sheet)],
        "bad_images": 0,
        "bad": [],
    }
    assert _made(folder) == ["cat.jpg", "coffee.jpg", "deep-field.jpg", "photographer.png.jpg", "rocket.jpg"]
    with Image.open(folder / "cat.jpg") as image, Image.open(folder / "thumbnails-160/cat.jpg") as thumbnail:
        assert (image.size, thumbnail.size, thumbnail.format) == ((451, 300), (160, 106), "JPEG")
    with Image.open(sheet) as drawn:
        assert drawn.size == (3 * (160 + 12) + 12, 2 * (160 + 12 + 18) + 12)


def test_it_says_how_far_it_is_file_by_file(folder: Path) -> None:
    reports = Reports()
    _make(folder, reports)

    assert [text for _, text in reports.said] == [
        *(f"{number} of 5: {name}" for number, name in enumerate(PHOTOS, 1)),
        "5 images, contact sheets: 1",
    ]
    assert [fraction for fraction, _ in reports.said] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1.0])
    assert reports.lines == [("folder read", {"images": 5, "into": str(folder / "thumbnails-160")})]


def test_what_is_up_to_date_is_left_alone(folder: Path) -> None:
    _make(folder)
    thumbnail = folder / "thumbnails-160/cat.jpg"
    before = thumbnail.stat()

    result = _make(folder)

    assert (result["made"], result["up_to_date"]) == (0, 5)
    assert thumbnail.stat().st_ino == before.st_ino


@pytest.mark.parametrize("years", [-10, 10])
def test_an_image_that_was_replaced_is_noticed_also_by_an_older_one(folder: Path, years: int) -> None:
    _make(folder)
    shutil.copy(folder / "rocket.jpg", folder / "cat.jpg")
    time = (folder / "rocket.jpg").stat().st_mtime + years * 365 * 86400
    os.utime(folder / "cat.jpg", (time, time))

    assert _make(folder)["made"] == 1
    with Image.open(folder / "thumbnails-160/cat.jpg") as thumbnail:
        assert thumbnail.size == (160, 107)  # the rocket's shape


def test_sizes_do_not_mix(folder: Path, tmp_path: Path) -> None:
    into = tmp_path / "elsewhere/deep"
    assert _make(folder, size=64, into=str(into))["made"] == 5
    assert _make(folder, size=32, into=str(into))["made"] == 5
    assert [each.name for each in sorted(into.iterdir())] == ["thumbnails-32", "thumbnails-64"]
    assert sorted(path.name for path in folder.iterdir()) == PHOTOS


def test_images_of_one_name_and_two_kinds_get_a_thumbnail_each(folder: Path) -> None:
    with Image.open(folder / "cat.jpg") as image:
        image.save(folder / "cat.png")
        image.save(folder / "CAT.JPEG")

    assert _make(folder)["made"] == 7
    assert {"cat.jpg", "cat.png.jpg", "CAT.JPEG.jpg"} < set(_made(folder))


def test_a_photograph_that_was_taken_upright_stays_upright(folder: Path) -> None:
    with Image.open(folder / "cat.jpg") as image:
        exif = Image.Exif()
        exif[0x0112] = 6  # orientation: to be turned by a quarter
        image.save(folder / "cat.jpg", exif=exif)

    _make(folder)
    with Image.open(folder / "thumbnails-160/cat.jpg") as thumbnail:
        assert thumbnail.size == (106, 160)


def test_what_is_transparent_becomes_white(folder: Path) -> None:
    Image.new("RGBA", (300, 300), (255, 0, 0, 0)).save(folder / "nothing.png")
    _make(folder)
    with Image.open(folder / "thumbnails-160/nothing.png.jpg") as thumbnail:
        assert thumbnail.getpixel((80, 80)) == (255, 255, 255)


def test_bad_images_are_told_and_do_not_stop_the_others(folder: Path) -> None:
    (folder / "note.jpg").write_text("not a picture")
    (folder / "empty.png").touch()
    (folder / "cut.jpg").write_bytes((folder / "cat.jpg").read_bytes()[:9000])
    (folder / "read.me").write_text("no image by its name")
    reports = Reports()

    result = _make(folder, reports)

    assert (result["thumbnails"], result["bad_images"]) == (5, 3)
    assert [each["file"] for each in result["bad"]] == ["cut.jpg", "empty.png", "note.jpg"]
    assert "truncated" in result["bad"][0]["reason"]
    assert result["bad"][2] == {"file": "note.jpg", "reason": "not an image"}
    assert {"message": "image cannot be read", "file": "note.jpg", "reason": "not an image"} in [
        {"message": message} | fields for message, fields in reports.lines
    ]


def test_of_a_folder_full_of_rubbish_the_result_stays_small(folder: Path) -> None:
    for number in range(150):
        (folder / f"{number}.jpg").touch()

    result = _make(folder)

    assert result["bad_images"] == 150
    assert len(result["bad"]) == 100


@pytest.mark.parametrize("name", ["nowhere", "cat.jpg"])
def test_a_folder_that_is_none_is_rejected(folder: Path, name: str) -> None:
    with pytest.raises(Reject, match="is not a folder on this worker"):
        _make(folder / name)


def test_a_fault_of_the_disk_is_no_bad_image(folder: Path) -> None:
    (folder / "thumbnails-160").mkdir()
    (folder / "thumbnails-160/cat.jpg").mkdir()
    with pytest.raises(IsADirectoryError):
        _make(folder)


def test_an_empty_folder_makes_an_empty_result(tmp_path: Path) -> None:
    result = _make(tmp_path)
    assert (result["thumbnails"], result["contact_sheets"]) == (0, [])


def test_many_images_go_to_several_sheets_and_sheets_of_former_runs_go(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "IMAGES_ON_A_SHEET", 2)
    assert [Path(each).name for each in _make(folder)["contact_sheets"]] == ["1.jpg", "2.jpg", "3.jpg"]

    for name in ("cat.jpg", "coffee.jpg", "rocket.jpg"):
        (folder / name).unlink()
    _make(folder)
    assert [path.name for path in (folder / "thumbnails-160/contact-sheets").iterdir()] == ["1.jpg"]


@dataclass
class _StopsAfter(Reports):
    """Stops the task at its so-manieth report, as a cancellation would."""

    reports: int = 2

    def progress(self, context: Context, progress: str) -> None:
        super().progress(context, progress)
        if len(self.said) == self.reports:
            raise Cancelled


def test_an_attempt_that_was_cut_short_is_taken_up_where_it_ended(folder: Path) -> None:
    with pytest.raises(Cancelled):
        _make(folder, _StopsAfter())
    assert _made(folder) == ["cat.jpg", "coffee.jpg"]

    assert _make(folder)["made"] == 3


def test_a_killed_attempt_leaves_no_half_file_under_a_name_that_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(image: Image.Image, path: Path, **_: Any) -> None:
        path.write_bytes(b"half a")
        raise Cancelled

    first = Context.testing(fence=1)
    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "save", cut)
        with pytest.raises(Cancelled):
            thumbnails.make(str(folder), context=first)
    (left,) = _made(folder)
    assert left.startswith(".cat.jpg.")

    thumbnails.make(str(folder), context=replace(first, attempt=2, fence=3))
    assert not [name for name in _made(folder) if name.startswith(".")]


@pytest.mark.parametrize("size", [15, 1025, "large"])
def test_a_size_out_of_range_is_refused(size: Any) -> None:
    with pytest.raises(InvalidArguments) as caught:
        thumbnails.make.encode({"folder": ".", "size": size})
    assert [fault.pointer for fault in caught.value.errors] == ["/args/size"]
