"""One reader for all pages."""

import shutil
from collections.abc import Iterator

import pytest
from documents import pages
from reader import Reader, reading

from servers import database
from steeple.embedded.postgres import EmbeddedPostgres
from steeple.embedded.valkey import EmbeddedValkey


@pytest.fixture(scope="session")
def reader(
    postgres: EmbeddedPostgres, template: str, valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reader]:
    """Has written the files that the pages show, and has the app of the front page's tour running."""
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("the pages are read with bash and curl")
    folder = tmp_path_factory.mktemp("reader")
    for block in (block for page in pages() for block in page.blocks if block.file is not None):
        (folder / str(block.file)).write_text(block.text)
    with database(postgres, "reader", template) as url, reading(folder, "tasks:app", url, valkey.url(62)) as found:
        yield found
