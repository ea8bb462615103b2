"""The exit codes of ``steeple``, in one place; the help's last lines are made from it."""

from enum import IntEnum


class ExitCode(IntEnum):
    meaning: str

    OK = 0, "all went well"
    FAILED = 1, "something went wrong; `doctor`: it found a fault"
    USAGE = 2, "wrong usage, arguments, configuration or API key"
    NOT_FOUND = 3, "no such job, schedule, operation, queue or key"
    CONFLICT = 4, "its state, or a key or name that is taken, does not allow it"
    UNREACHABLE = 5, "the API, the database or the broker does not answer, or not now"
    JOB_FAILED = 6, "the job that was waited for ended FAILED"
    JOB_CANCELLED = 7, "the job that was waited for ended CANCELLED, or the operation ABORTED"
    WAIT_TIMEOUT = 8, "the job or operation had not ended when the wait did"

    def __new__(cls, value: int, meaning: str) -> "ExitCode":
        code = int.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code


def epilog() -> str:
    """The exit codes as lines of a help text."""
    return "\n".join(["Exit codes:", *(f"  {code.value}  {code.meaning}" for code in ExitCode)])
