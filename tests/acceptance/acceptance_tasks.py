"""A user's tasks, for the acceptance tests. Each effect is a line in a file, written in one go."""

import os
import time
from pathlib import Path

from steeple import Context, Retry, Steeple

app = Steeple()


@app.task("note", retry=Retry(max_attempts=5, initial=0.1))
def note(path: str, text: str, context: Context) -> str:
    _append(path, f"{text} {context.job_id} {context.attempt} {context.fence}")
    return text


@app.task("slow_note", retry=Retry(max_attempts=5, initial=0.1))
def slow_note(path: str, text: str, seconds: float, context: Context) -> str:
    """Notes that it began, and that it ended."""
    _append(path, f"began {text}")
    time.sleep(seconds)
    _append(path, f"ended {text}")
    return text


@app.task("stamp")
def stamp() -> float:
    """When it ran, by this machine's clock: on one machine the database's is the same."""
    return time.time()


def _append(path: str, line: str) -> None:
    descriptor = os.open(Path(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{line}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
