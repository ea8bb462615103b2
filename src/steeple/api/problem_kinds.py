"""The kinds of problems that the API answers with. Each has a page of its own, to which its ``type`` leads."""

from enum import Enum


class Kind(Enum):
    """A kind of problem: its name (and page, ``/problems/NAME``), status, title, and what its page says."""

    NOT_JSON = (
        "not-json",
        400,
        "The body is not JSON",
        "The request's body must be one JSON document in UTF-8. `detail` says where reading stopped.",
    )
    BAD_REQUEST = (
        "bad-request",
        400,
        "The request is not HTTP",
        "The request could not be read as HTTP.",
    )
    UNAUTHORIZED = (
        "unauthorized",
        401,
        "A valid API key is needed",
        (
            "Send `Authorization: Bearer stpl_…` with a key of `steeple keys create`. The answer is the same for a "
            "key that is missing, unknown or revoked."
        ),
    )
    FORBIDDEN = (
        "forbidden",
        403,
        "The API key does not allow this",
        (
            "Reading needs the scope `read`, changing anything `write`, and deleting jobs `admin`, which includes "
            "both. Use a key with more scopes."
        ),
    )
    CROSS_SITE = (
        "cross-site",
        403,
        "A page of another site may not do this",
        (
            "Before the first API key is made, the API is open to programs on its machine, and to no page that some "
            "other site shows in a browser there. Once a key was made (`steeple keys create`) it goes by the key alone."
        ),
    )
    NOT_FOUND = ("not-found", 404, "There is no such page", "No operation of the API has this path. See `/docs`.")
    JOB_NOT_FOUND = (
        "job-not-found",
        404,
        "There is no such job",
        "No job has this id: it never existed, or it ended and its retention has passed.",
    )
    SCHEDULE_NOT_FOUND = (
        "schedule-not-found",
        404,
        "There is no such schedule",
        "No schedule has this id: it never existed, or it was deleted.",
    )
    OPERATION_NOT_FOUND = (
        "operation-not-found",
        404,
        "There is no such operation",
        "No operation has this id: it never existed, or it ended and its retention has passed.",
    )
    QUEUE_NOT_FOUND = (
        "queue-not-found",
        404,
        "There is no such queue",
        (
            "No job is in a queue of this name, no task is for it and nothing was set for it; or the name cannot be "
            "one: 1 to 100 letters, digits and `. _ : -`, a letter or digit first."
        ),
    )
    FLOW_NOT_FOUND = (
        "flow-not-found",
        404,
        "There is no such flow",
        "No job that is kept belongs to a flow of this id: it never existed, or the retention of its jobs has passed.",
    )
    LIMIT_NOT_FOUND = (
        "limit-not-found",
        404,
        "There is no such limit",
        "No limit is set for this very key or pattern. `GET /v1/limits` lists those that are.",
    )
    METHOD_NOT_ALLOWED = (
        "method-not-allowed",
        405,
        "The method is not allowed here",
        "The header `Allow` names the methods that this path knows.",
    )
    STATE_CONFLICT = (
        "state-conflict",
        409,
        "The job's state does not allow this",
        (
            "A job that has ended cannot be cancelled, one that has not ended cannot be retried unless it is held since"
            " a parent of it failed, and only a pending job can be changed. An operation that is done cannot be "
            "aborted. `state` is the state that it is in."
        ),
    )
    FLOW_CONFLICT = (
        "flow-conflict",
        409,
        "The flow's state does not allow this",
        (
            "A flow can be cancelled as long as one of its jobs has not ended, and started anew if one has failed, was "
            "cancelled, or is held. `state` is the state that it is in."
        ),
    )
    UNIQUE_KEY_HELD = (
        "unique-key-held",
        409,
        "Another job holds the unique key",
        (
            "At most one job holds a given `unique_key`: while it is pending or running, unless it chose other states. "
            "`job_id` names the one that does. It can be taken over with `on_conflict` only while it is pending."
        ),
    )
    SCHEDULE_NAME_TAKEN = (
        "schedule-name-taken",
        409,
        "Another schedule has this name",
        "Each schedule has a name of its own. `schedule_id` is that of the one that has this name.",
    )
    SCHEDULE_IS_CODE = (
        "schedule-is-code",
        409,
        "The schedule is declared in code",
        (
            "What it says is kept as the code has it, each time a part starts: change it there. It can be paused, "
            "resumed, run, filled back and deleted here."
        ),
    )
    PRECONDITION_FAILED = (
        "precondition-failed",
        412,
        "It has changed meanwhile",
        (
            "The request was to hold for the version that `If-Match` names, and it is another by now: `version`. "
            "Nothing was done. Read it again, and decide anew."
        ),
    )
    TOO_LARGE = (
        "too-large",
        413,
        "The request is too large",
        (
            "The body as a whole and the arguments of each job have a limit in bytes; `detail` names it. Keep large "
            "inputs elsewhere, and pass where they are."
        ),
    )
    UNSUPPORTED_MEDIA_TYPE = (
        "unsupported-media-type",
        415,
        "The body's type is not understood",
        "Bodies are JSON as it is: send `Content-Type: application/json`, and no `Content-Encoding`.",
    )
    MISDIRECTED = (
        "misdirected",
        421,
        "The API does not answer to this name",
        (
            "Before the first API key is made, the API answers only to `localhost` and to addresses of its own "
            "machine: a web page could else reach it by a name that leads there. Use one of those in the URL, let a "
            "proxy send `Host: localhost`, or make a key with `steeple keys create`."
        ),
    )
    INVALID_REQUEST = (
        "invalid-request",
        422,
        "The request is not valid",
        (
            "`errors` names each place and what is wrong there: by `pointer`, a JSON Pointer into the body, or with "
            "`in` into the query, the path or the headers. Nothing was done."
        ),
    )
    UNKNOWN_TASK = (
        "unknown-task",
        422,
        "There is no such task",
        (
            "Neither this API nor any worker has registered a task of this name. `GET /v1/tasks` lists those that are"
            " known."
        ),
    )
    INVALID_ARGUMENTS = (
        "invalid-arguments",
        422,
        "The task does not take these arguments",
        (
            "`errors` names each argument that is at fault. `GET /v1/tasks` has the JSON Schema of each task's "
            "arguments."
        ),
    )
    IDEMPOTENCY_KEY_REUSED = (
        "idempotency-key-reused",
        422,
        "The idempotency key belongs to another request",
        (
            "This `Idempotency-Key` came with another body before; `job_id` or `operation_id` names what was made "
            "then. Use a new key for each request, and repeat a key only with the same body."
        ),
    )
    TOO_MANY_REQUESTS = (
        "too-many-requests",
        429,
        "Too many requests",
        "Wait for as many seconds as `Retry-After` says, then try again.",
    )
    HEADERS_TOO_LARGE = (
        "headers-too-large",
        431,
        "The request's headers are too large",
        "The request line and headers together may take 64 KiB.",
    )
    INTERNAL_ERROR = (
        "internal-error",
        500,
        "Something went wrong inside Steeple",
        "This is a fault of Steeple, not of the request. Its log has the details under the `request_id`.",
    )
    UNAVAILABLE = (
        "unavailable",
        503,
        "The API cannot do this just now",
        (
            "The database does not answer, its schema is not at head, or too much is waiting. Try again after as many"
            " seconds as `Retry-After` says."
        ),
    )

    def __init__(self, slug: str, status: int, title: str, text: str) -> None:
        self.slug, self.status, self.title, self.text = slug, status, title, text

    @property
    def path(self) -> str:
        return f"/problems/{self.slug}"
