"""What is done in each backend's pages before they are pictured: the trace opened, the shadow's span chosen."""

from __future__ import annotations

from .backends import SHADOW_SPAN, Backend
from .chromium import Page

WIDTH, HEIGHT = 1280, 900
SHOWN = ("understudy.role", "understudy.pair.latency_ratio")
"""Attributes of the shadow's span that the page says one sees."""


async def show(backend: Backend, page: Page, url: str, trace_id: str) -> None:
    """Open the trace in a page and choose the shadow's span. Raises Failed when something never appears."""
    if backend == "phoenix":
        await _phoenix(page, url, trace_id)
    else:
        await _mlflow(page, url, trace_id)


async def _phoenix(page: Page, url: str, trace_id: str) -> None:
    await page.open(f"{url}/redirects/traces/{trace_id}", width=WIDTH, height=HEIGHT)
    await page.says("Trace", SHADOW_SPAN)
    await page.press('[aria-label="Collapse side navigation"]')
    await page.click(SHADOW_SPAN)
    await page.says(*SHOWN)
    await page.drag((608, 600), (760, 600))


async def _mlflow(page: Page, url: str, trace_id: str) -> None:
    await page.open(f"{url}/#/experiments/0/traces?selectedEvaluationId={trace_id}", width=WIDTH, height=HEIGHT)
    await page.says(SHADOW_SPAN)
    await page.press('[data-component-id="mlflow.assistant.chat_panel.close"]')
    await page.press('[aria-label="Full screen"]')
    await page.click(SHADOW_SPAN)
    await page.says(*SHOWN)
    await page.drag((320, 600), (620, 600))
    await page.scroll_to_end(SHOWN[-1])
