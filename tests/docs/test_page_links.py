"""Every link leads somewhere: to a file that is there, and to a heading that is in it."""

import re
from pathlib import Path

import pytest
from documents import ROOT, Page, pages


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Page) -> None:
    dead = [link for link in page.links if not _leads_somewhere(page, link)]
    assert not dead


def _leads_somewhere(page: Page, link: str) -> bool:
    if re.match(r"https?://", link):
        return True
    path, _, anchor = link.partition("#")
    target = Path(page.path.parent, path).resolve() if path else page.path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or anchor in Page(target).anchors


def test_every_page_can_be_reached_from_the_front_page() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        links = (link.partition("#")[0] for link in Page(path).links)
        waiting += [Path(path.parent, link).resolve() for link in links if link and "://" not in link]
    assert not {page.name for page in pages() if page.path not in reached}
