"""Thumbnails and contact sheets of a folder of images: ``steeple up examples.thumbnails:app``.

Written to be run again at any time: what is up to date is left alone, and a file is there whole or not at all. That is
what a task needs where a job can run a second time, because its worker died at the first.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError
from pydantic import Field

from steeple import Context, Reject, Retry, Steeple

app = Steeple()

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
IMAGES_ON_A_SHEET = 48
BAD_IMAGES_TOLD = 100
"""A result is kept in the database: of a folder full of rubbish it holds the first so many files, and their number."""

MARGIN = 12
CAPTION_HEIGHT = 18

Size = Annotated[int, Field(ge=16, le=1024, description="Longest side of a thumbnail, in pixels.")]


@dataclass(frozen=True)
class Thumbnail:
    """What is made of an image, or was at an earlier run."""

    image: Path
    path: Path


@dataclass
class Tally:
    """What became of the images so far; ``bad`` says of each file why it cannot be read."""

    thumbnails: list[Thumbnail] = field(default_factory=list)
    made: int = 0
    bad: dict[str, str] = field(default_factory=dict)


@app.task("thumbnails.make", retry=Retry(max_attempts=3, initial=2.0), timeout=3600.0)
def make(folder: str, into: str | None = None, size: Size = 160, *, context: Context) -> dict[str, Any]:
    """Make a thumbnail of each image in a folder, and contact sheets of them all.

    They go to a folder ``thumbnails-160``, after their size, within ``into`` or within ``folder`` itself. Paths are the
    worker's. Images that cannot be read are told in the result; a folder that is not there is no reason to try again.
    """
    source, target = find_folders(folder, into, size)
    images = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    context.log("folder read", images=len(images), into=str(target))
    tally = refresh_all(images, target, size, context)
    sheets = make_sheets(tally.thumbnails, target, size, context)
    remove_leavings(target, context)
    context.progress(1.0, f"{len(images)} images, contact sheets: {len(sheets)}")
    return {
        "folder": str(source),
        "thumbnails": len(tally.thumbnails),
        "made": tally.made,
        "up_to_date": len(tally.thumbnails) - tally.made,
        "contact_sheets": [str(sheet) for sheet in sheets],
        "bad_images": len(tally.bad),
        "bad": [{"file": name, "reason": reason} for name, reason in islice(tally.bad.items(), BAD_IMAGES_TOLD)],
    }


def find_folders(folder: str, into: str | None, size: int) -> tuple[Path, Path]:
    """Where the images are, and where thumbnails go: a folder that there is from now on."""
    source = Path(folder).resolve()
    if not source.is_dir():
        raise Reject(f"{folder} is not a folder on this worker, which looked for {source}")
    target = Path(into or source).resolve() / f"thumbnails-{size}"
    target.mkdir(parents=True, exist_ok=True)
    return source, target


def refresh_all(images: Sequence[Path], target: Path, size: int, context: Context) -> Tally:
    """Bring the thumbnails up to date, one after the other."""
    tally = Tally()
    for number, image in enumerate(images, 1):
        thumbnail = Thumbnail(image, target / thumbnail_name(image))
        try:
            tally.made += refresh(thumbnail, size, context)
            tally.thumbnails.append(thumbnail)
        except UnreadableImage as error:
            tally.bad[image.name] = str(error)
            context.log("image cannot be read", file=image.name, reason=str(error))
        context.progress(number / (len(images) + 1), f"{number} of {len(images)}: {image.name}")
    return tally


class UnreadableImage(Exception):
    """A file that Pillow cannot make an image of."""


def thumbnail_name(image: Path) -> str:
    """A name of its own for ``cat.jpg`` and ``cat.png``."""
    return image.name if image.suffix == ".jpg" else f"{image.name}.jpg"


def refresh(thumbnail: Thumbnail, size: int, context: Context) -> bool:
    """Make the thumbnail unless it is that of this very file; True if it was made.

    A thumbnail carries the time of its image, so that one that is replaced by an older file is noticed too.
    """
    image = thumbnail.image.stat()
    if thumbnail.path.exists() and thumbnail.path.stat().st_mtime_ns == image.st_mtime_ns:
        return False
    write(shrink(thumbnail.image, size), thumbnail.path, context, times=(image.st_atime_ns, image.st_mtime_ns))
    return True


def shrink(path: Path, size: int) -> Image.Image:
    """The image upright, on white where it is transparent, its longest side ``size``. Raises ``UnreadableImage``."""
    try:
        with Image.open(path) as image:
            image.thumbnail((size, size))
            small = ImageOps.exif_transpose(image)
            if not small.has_transparency_data:
                return small.convert("RGB")
            small = small.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", small.size, "white"), small).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise UnreadableImage(reason) from error


def make_sheets(thumbnails: Sequence[Thumbnail], target: Path, size: int, context: Context) -> list[Path]:
    """Contact sheets of the thumbnails, in the place of those of an earlier run."""
    folder = target / "contact-sheets"
    folder.mkdir(exist_ok=True)
    former = set(folder.glob("*.jpg"))
    sheets: list[Path] = []
    for first in range(0, len(thumbnails), IMAGES_ON_A_SHEET):
        sheets.append(folder / f"{len(sheets) + 1}.jpg")
        write(draw_sheet(thumbnails[first : first + IMAGES_ON_A_SHEET], size), sheets[-1], context)
    for sheet in former.difference(sheets):
        sheet.unlink(missing_ok=True)
    return sheets


def draw_sheet(thumbnails: Sequence[Thumbnail], size: int) -> Image.Image:
    """Thumbnails in rows, each above the name of its image."""
    columns = min(8, math.ceil(math.sqrt(len(thumbnails))))
    rows = math.ceil(len(thumbnails) / columns)
    cell_width, cell_height = size + MARGIN, size + CAPTION_HEIGHT + MARGIN
    sheet = Image.new("RGB", (columns * cell_width + MARGIN, rows * cell_height + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for number, thumbnail in enumerate(thumbnails):
        left = MARGIN + number % columns * cell_width
        top = MARGIN + number // columns * cell_height
        with Image.open(thumbnail.path) as image:
            sheet.paste(image, (left + (size - image.width) // 2, top + (size - image.height) // 2))
        caption = thumbnail.image.name[: size // 7]
        draw.text((left + size // 2, top + size + CAPTION_HEIGHT // 2), caption, fill="black", anchor="mm")
    return sheet


def write(image: Image.Image, path: Path, context: Context, *, times: tuple[int, int] | None = None) -> None:
    """Save under a name of this attempt's own, then rename: nobody sees half a file, not even of a killed attempt."""
    unfinished = path.with_name(f".{path.name}.{context.job_id}.{context.fence}")
    image.save(unfinished, format="JPEG", quality=85)
    if times is not None:
        os.utime(unfinished, ns=times)
    unfinished.replace(path)


def remove_leavings(target: Path, context: Context) -> None:
    """What earlier attempts of this job could not finish."""
    for unfinished in target.rglob(f".*.{context.job_id}.*"):
        unfinished.unlink(missing_ok=True)
