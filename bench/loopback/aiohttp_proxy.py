"""The baseline: a reverse proxy as one would write it with aiohttp, streaming both ways, on uvloop.

`python -m bench.loopback.aiohttp_proxy PORT PREFIX=UPSTREAM_PORT ...`
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

from .wire import HOST

HOP_BY_HOP = ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")


def forwarded(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """A copy without the fields that concern one connection only."""
    for name in HOP_BY_HOP:
        headers.popall(name, None)
    return headers


class ReverseProxy:
    """Passes each request to the upstream of its path's first segment. Mutable state: the client session."""

    def __init__(self, upstreams: dict[str, str]) -> None:
        self.upstreams = upstreams
        self.session: ClientSession | None = None

    async def with_session(self, app: web.Application) -> None:
        """Open the one session that all requests share: unlimited connections, no timeout, bytes as they came."""
        self.session = ClientSession(
            connector=TCPConnector(limit=0),
            timeout=ClientTimeout(total=None),
            auto_decompress=False,
        )

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One exchange."""
        assert self.session is not None
        base = self.upstreams[request.rel_url.raw_path.split("/", 2)[1]]
        headers = forwarded(CIMultiDict(request.headers))
        headers["X-Forwarded-For"] = request.remote or ""
        async with self.session.request(
            request.method,
            URL(base + request.raw_path, encoded=True),
            headers=headers,
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        ) as upstream:
            response = web.StreamResponse(status=upstream.status, headers=forwarded(CIMultiDict(upstream.headers)))
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


async def serve(port: int, upstreams: dict[str, str]) -> None:
    """Listen until cancelled."""
    proxy = ReverseProxy(upstreams)
    app = web.Application()
    app.on_startup.append(proxy.with_session)
    app.router.add_route("*", "/{tail:.*}", proxy.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port, backlog=4096).start()
    await asyncio.get_running_loop().create_future()


def main() -> None:
    """Run until a signal ends the process."""
    upstreams = {prefix: f"http://{HOST}:{port}" for prefix, _, port in (arg.partition("=") for arg in sys.argv[2:])}
    uvloop.run(serve(int(sys.argv[1]), upstreams))


if __name__ == "__main__":
    main()
