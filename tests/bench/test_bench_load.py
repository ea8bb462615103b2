"""What the load generator takes for a reply."""

import json

import pytest
from bench.load import Loaded, post, whole_reply

_HEAD = b"HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\ncontent-type: application/json"


@pytest.mark.parametrize("received", [_HEAD, _HEAD + b"\r\n\r\n", _HEAD + b"\r\n\r\nbod"])
def test_a_reply_is_none_before_its_last_byte(received: bytes) -> None:
    assert whole_reply(received) is None


def test_a_reply_is_taken_apart_at_its_last_byte() -> None:
    assert whole_reply(_HEAD + b"\r\n\r\nbody") == (_HEAD, b"body")


def test_a_request_says_how_long_its_body_is() -> None:
    head, _, body = post("/v1/jobs", {"task": "noop"}).partition("\r\n\r\n")
    assert head.startswith("POST /v1/jobs HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}" in head
    assert json.loads(body) == {"task": "noop"}


def test_the_rate_counts_what_came_in_time_and_the_percentile_the_late_ones_too() -> None:
    loaded = Loaded(milliseconds=[1.0, 2.0, 3.0, 40.0], in_time=3, seconds=2.0, replies=9, ids=[])
    assert loaded.rate == 1.5
    assert loaded.share_within(0.75) == 3.0
