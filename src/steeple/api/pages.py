"""The pages that people read: the front page, the documentation of the API and of its problems. They load nothing."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from steeple.api import openapi
from steeple.api.problem_kinds import Kind

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1c2024; }
h2 { margin-top: 2.5rem; } h3 { margin: 2rem 0 .25rem; } code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { background: #f4f5f7; padding: .75rem; overflow-x: auto; border-radius: 4px; }
table { border-collapse: collapse; } td, th { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; }
.method { display: inline-block; min-width: 4rem; font-weight: 600; }
@media (prefers-color-scheme: dark) { body { background: #16181b; color: #e3e6ea; } pre { background: #22262b; }
a { color: #8ab4f8; } }
"""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def front_page() -> Response:
    text = "<p>A job scheduler. Its API is described at <a href='/docs'>/docs</a>, and for programs at "
    return _page("Steeple", text + "<a href='/openapi.json'>/openapi.json</a>.</p>")


@router.get("/docs")
async def documentation(request: Request) -> Response:
    return _page("Steeple's HTTP API", "".join(_documentation(openapi.document(request.app))))


@router.get("/problems")
async def problem_list() -> Response:
    rows = (f"<tr><td>{kind.status}</td><td>{_problem_link(kind)}</td></tr>" for kind in Kind)
    return _page("Problems", f"<table>{''.join(rows)}</table>")


@router.get("/problems/{name}")
async def problem_page(name: str) -> Response:
    for kind in Kind:
        if kind.slug == name:
            text = f"<p>Status {kind.status}, type <code>{kind.path}</code>.</p><p>{_prose(kind.text)}</p>"
            return _page(kind.title, text + "<p><a href='/problems'>All problems</a></p>")
    raise HTTPException(404)


def _page(title: str, content: str) -> Response:
    text = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1>{content}</body></html>"
    )
    return Response(text, headers=_HEADERS, media_type="text/html")


def _problem_link(kind: Kind) -> str:
    return f"<a href='{kind.path}'>{escape(kind.title)}</a>"


def _prose(text: str) -> str:
    """Text with `code` in it."""
    parts = escape(text.strip(), quote=False).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _documentation(document: Mapping[str, Any]) -> Iterator[str]:
    yield "".join(f"<p>{_prose(part)}</p>" for part in document["info"]["description"].split("\n\n"))
    yield "<p>For programs: <a href='/openapi.json'>/openapi.json</a>. <a href='/problems'>All problems</a>.</p>"
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'].capitalize())}</h2><p>{_prose(tag['description'])}</p>"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(method, path, operation)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h3 id='{operation['operationId']}'>{escape(operation['summary'])}</h3>"
    yield f"<p><code><span class='method'>{method.upper()}</span>{escape(path)}</code></p>"
    yield f"<p>{_prose(operation.get('description', ''))}</p>"
    rows = (_parameter(parameter) for parameter in operation.get("parameters", ()))
    yield f"<table>{''.join(rows)}</table>"
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body:
        yield f"<pre>{_json(body['example'])}</pre>"
    rows = (_reply(status, reply) for status, reply in operation["responses"].items())
    yield f"<table>{''.join(rows)}</table>"


def _parameter(parameter: Mapping[str, Any]) -> str:
    text = parameter.get("description") or parameter["schema"].get("description", "")
    return (
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{parameter['in']}</td><td>{_prose(text)}</td></tr>"
    )


def _reply(status: str, reply: Mapping[str, Any]) -> str:
    return f"<tr><td>{status}</td><td>{_prose(reply['description'])}</td></tr>"


def _json(value: object) -> str:
    return escape(json.dumps(value, indent=2, ensure_ascii=False), quote=False)
