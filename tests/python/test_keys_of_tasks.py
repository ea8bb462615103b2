"""Limits and fair keys that tasks make of their arguments."""

import pytest

from steeple import Settings, Steeple
from steeple.domain.key_templates import Unfilled, fill, names_in
from steeple.errors import InvalidJob, TaskDefinitionError


@pytest.fixture
def app(database_url: str) -> Steeple:
    return Steeple(Settings(database_url=database_url))


def test_the_keys_of_a_job_are_made_of_its_arguments(app: Steeple) -> None:
    @app.task("send", limits=["smtp", "customer:{customer}"], fair_key="{customer}/{kind}")
    def send(customer: int, kind: str = "mail") -> None: ...

    handle = send.submit(42, kind="letter")
    job = app._backend.read(handle.id)
    assert (job.limits, job.fair_key) == (("customer:42", "smtp"), "42/letter")
    batch = app.submit_batch("send", [{"customer": number, "kind": "x"} for number in (1, 2)], limits=["more"])
    assert [app._backend.read(each.id).limits for each in batch] == [
        ("customer:1", "more", "smtp"),
        ("customer:2", "more", "smtp"),
    ]
    app.close()


def test_an_argument_that_is_missing_for_a_key_is_told(app: Steeple) -> None:
    @app.task("send", fair_key="{kind}")
    def send(kind: str | None = None) -> None: ...

    for arguments in ({}, {"kind": None}):
        with pytest.raises(InvalidJob) as refused:
            app.submit("send", arguments)
        assert refused.value.errors[0].pointer == "/args/kind"
    app.close()


@pytest.mark.parametrize("written", ["{", "{0}", "{}", "{customer.name}", "{customer!r}", "{customer:>10}", "{other}"])
def test_a_key_that_cannot_be_made_is_no_definition(app: Steeple, written: str) -> None:
    with pytest.raises(TaskDefinitionError):
        app.task("send", limits=[written])(_send)


def _send(customer: int) -> None: ...


def test_one_text_is_no_list_of_keys(app: Steeple) -> None:
    with pytest.raises(TaskDefinitionError):
        app.task("send", limits="smtp")(_send)


def test_braces_that_are_doubled_stand_for_themselves() -> None:
    assert names_in("{{a}}:{b}") == ("b",)
    assert fill("{{a}}:{b}", {"b": 1}) == "{a}:1"
    with pytest.raises(Unfilled):
        fill("{b}", {"b": True})
