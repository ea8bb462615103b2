"""What the pages show is what happens: their commands and programs are run, and what they say is compared."""

import pytest
from documents import Block, page, pages, pages_with
from reader import Reader
from transcripts import Transcript


@pytest.mark.parametrize("name", pages_with("console"))
def test_commands_do_what_the_page_shows(name: str, reader: Reader) -> None:
    transcript = Transcript(reader.type)
    for block in page(name).blocks:
        if block.is_run and block.language == "console":
            for command, shown in block.steps():
                transcript.play(command, shown)


@pytest.mark.parametrize("name", pages_with("python"))
def test_programs_say_what_the_page_shows(name: str, reader: Reader) -> None:
    programs = [block for block in page(name).blocks if block.is_run and block.language == "python"]
    said = reader.run_program(programs)
    for program, seen in zip(programs, said, strict=True):
        assert seen.strip() == _output_of(program).strip(), program.place


def _output_of(program: Block) -> str:
    """What the page shows as the output of a program: the block right after it, if that is marked so."""
    blocks = page(program.place.rsplit(":", 1)[0]).blocks
    following = blocks[blocks.index(program) + 1 :][:1]
    return following[0].text if following and "output" in following[0].marks else ""


@pytest.mark.parametrize("block", [each for page in pages() for each in page.blocks], ids=lambda block: block.place)
def test_programs_compile(block: Block) -> None:
    if block.language == "python":
        compile(block.text, block.place, "exec")
