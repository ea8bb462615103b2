"""Registering functions as tasks: what is taken, what is refused and why, and that they stay plain functions."""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest

from steeple import Context, Priority, Retry, Steeple
from steeple.errors import TaskDefinitionError


@pytest.fixture
def app() -> Steeple:
    return Steeple()


def _refusal(app: Steeple, function: Callable[..., Any], name: str = "t", **options: Any) -> str:
    with pytest.raises(TaskDefinitionError) as caught:
        app.task(name, **options)(function)
    assert app.tasks == {}
    return str(caught.value)


def test_a_task_is_still_a_plain_function(app: Steeple) -> None:
    @app.task("add")
    def add(a: int, b: int = 2) -> int:
        """The sum."""
        return a + b

    assert add(1) == 3
    assert add.__doc__ == "The sum."
    assert add.__name__ == "add"
    assert app.tasks["add"] is add


def test_the_record_tells_other_parts_all_that_they_need(app: Steeple) -> None:
    retry = Retry(max_attempts=5, initial=2.0, cap=300.0)

    @app.task("reports.render", queue="reports", priority="high", retry=retry, timeout=600)
    async def render(month: str, *, copies: int = 1, context: Context) -> None:
        """Render.

        In colour.
        """

    record = render.record
    assert (record.name, record.queue, record.priority) == ("reports.render", "reports", Priority.HIGH)
    assert (record.timeout, record.retry, record.is_async) == (600, retry, True)
    assert record.description == "Render.\n\nIn colour."
    assert record.schema == {
        "title": "Arguments",
        "type": "object",
        "properties": {
            "month": {"title": "Month", "type": "string"},
            "copies": {"title": "Copies", "type": "integer", "default": 1},
        },
        "required": ["month"],
        "additionalProperties": False,
    }


def test_two_tasks_cannot_have_one_name(app: Steeple) -> None:
    first = app.task("t")(lambda: None)

    with pytest.raises(TaskDefinitionError, match="'t' is registered already"):
        app.task("t")(lambda: None)
    assert app.tasks == {"t": first}


@pytest.mark.parametrize("name", ["", "1st", "a b", "a/b", "é", "a\n", "a" * 201, "a\x00"])
def test_a_bad_name_is_refused(app: Steeple, name: str) -> None:
    assert "is not a task's name" in _refusal(app, lambda: None, name)


@pytest.mark.parametrize("name", ["a", "a.b_c:d-e", "_", "A9", "a" * 200])
def test_a_good_name_is_taken(app: Steeple, name: str) -> None:
    app.task(name)(lambda: None)
    assert list(app.tasks) == [name]


def test_a_decorator_without_a_name_says_how_to_write_it(app: Steeple) -> None:
    def render() -> None: ...

    with pytest.raises(TaskDefinitionError, match="a task has a name"):
        app.task(render)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"queue": "a b"}, "'a b' is not a queue's name"),
        ({"queue": None}, "None is not a queue's name"),
        ({"priority": "urgent"}, "priority is one of high, default, low, not 'urgent'"),
        ({"priority": 1}, "priority is one of high, default, low, not 1"),
        ({"timeout": 0}, "timeout is a number of seconds over 0"),
        ({"timeout": float("nan")}, "timeout is a number of seconds over 0"),
        ({"timeout": float("inf")}, "timeout is a number of seconds over 0"),
        ({"timeout": "60"}, "timeout is a number of seconds over 0"),
        ({"timeout": True}, "timeout is a number of seconds over 0"),
        ({"retry": 5}, "retry is a steeple.Retry, not 5"),
    ],
)
def test_a_bad_option_is_refused_by_name(app: Steeple, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(TaskDefinitionError) as caught:
        app.task("t", **options)
    assert str(caught.value).startswith(f"t: {reason}")


class _Opaque:
    """No type that JSON could carry."""


def _positional_only(a: int, /) -> None: ...
def _any_number(*a: int) -> None: ...
def _two_contexts(a: Context, b: Context | None = None) -> None: ...
def _all_context(**rest: Context) -> None: ...
def _unknown_name(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def _no_schema(a: Callable[[], int]) -> None: ...
def _no_type(a: _Opaque) -> None: ...
def _generator() -> Iterator[int]:
    yield 1


async def _async_generator() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (_positional_only, "parameter 'a' is positional-only"),
        (_any_number, "parameter 'a' takes any number of positions"),
        (_two_contexts, "a and b are both annotated Context; one is enough"),
        (_all_context, "the context is one parameter, not all of **rest"),
        (_unknown_name, "its type hints cannot be read: name 'Nowhere' is not defined"),
        (_no_schema, "Cannot generate a JsonSchema"),
        (_no_type, "Unable to generate pydantic-core schema"),
        (_generator, "a generator runs only when it is looped over"),
        (_async_generator, "a generator runs only when it is looped over"),
        (functools.partial(lambda a: a, 1), "its type hints cannot be read"),
    ],
)
def test_a_function_that_cannot_be_a_task_is_refused(app: Steeple, function: Callable[..., Any], reason: str) -> None:
    assert _refusal(app, function).startswith(f"t: {reason}")


@pytest.mark.parametrize("hint", [Context, Context | None, Annotated[Context, "the worker's"]])
def test_the_context_is_no_argument_however_it_is_annotated(app: Steeple, hint: Any) -> None:
    def work(context, a: int = 1) -> int:  # type: ignore[no-untyped-def]
        return a

    work.__annotations__["context"] = hint
    task = app.task("t")(work)
    context = Context.testing()

    assert list(task.record.schema["properties"]) == ["a"]
    assert task.decode('{"a": 2}', lambda: context) == {"a": 2, "context": context}


def test_a_list_of_contexts_is_not_the_context(app: Steeple) -> None:
    def work(contexts: list[Context]) -> None: ...

    assert "Unable to generate pydantic-core schema" in _refusal(app, work)


def test_a_parameter_that_is_only_called_context_is_an_argument(app: Steeple) -> None:
    def work(context: str) -> str:
        return context

    assert app.task("t")(work).encode({"context": "mine"}) == '{"context":"mine"}'


def test_a_wrapped_function_keeps_its_own_signature(app: Steeple) -> None:
    def twice(function: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> int:
            return 2 * function(*args, **kwargs)

        return call

    @app.task("t")
    @twice
    def work(a: int) -> int:
        return a

    assert list(work.record.schema["properties"]) == ["a"]
    assert work(4) == 8
