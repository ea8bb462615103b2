"""What leads from a page of a list to the next: the id before which that begins, as text that means nothing else."""

import base64
from uuid import UUID

from steeple.api.problem_kinds import Kind
from steeple.api.problems import Fault, refusal

_CURSOR_VERSION = b"\x01"


def write_cursor(before: UUID) -> str:
    """For a page whose ids are before this one."""
    return base64.urlsafe_b64encode(_CURSOR_VERSION + before.bytes).decode().rstrip("=")


def read_cursor(cursor: str) -> UUID:
    """Raises ``Refusal``."""
    try:
        found = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[1:]
    except ValueError:
        found = b""
    if len(found) != 16 or write_cursor(UUID(bytes=found)) != cursor:
        fault = Fault("/cursor", "is no cursor of this API", "query")
        raise refusal(Kind.INVALID_REQUEST, "cursor is no cursor of this API", fault)
    return UUID(bytes=found)
