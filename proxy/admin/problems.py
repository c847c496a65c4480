"""RFC 9457 problem details: the only form in which the admin API says no."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from ..log import logger

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(status: int, detail: str, headers: dict[str, str] | None = None, **members: Any) -> web.Response:
    """An answer that says what is wrong. `detail` must hold nothing secret."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/problem+json", headers=headers
    )


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn aiohttp's own refusals into problems, and an exception into a 500 that tells nothing."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as refused:
        allowed = ", ".join(sorted(refused.allowed_methods))
        return problem(405, f"{request.method} is not allowed here; allowed: {allowed}", {"Allow": allowed})
    except web.HTTPNotFound:
        return problem(404, "there is no such resource")
    except web.HTTPException as refused:
        return problem(refused.status, refused.reason)
    except Exception:
        logger.exception("admin API: %s %s failed", request.method, request.path)
        return problem(500, "this is a bug; the log says more")
