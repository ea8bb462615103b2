"""What check-image says: one line for each thing that holds, an exception for the first that does not."""


class Failed(Exception):
    """A check that did not hold; the message says what was found."""


def passed(what: str) -> None:
    print(f"ok    {what}", flush=True)


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Failed(f"{what}: {found!r}, not {wanted!r}")
    passed(f"{what}: {wanted or 'none'}")
