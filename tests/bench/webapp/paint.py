"""How soon Chromium shows the numbers of the cluster: with an empty cache and a full one, and on a quarter of the processor."""

import statistics

from playwright.async_api import Browser, BrowserContext

from tests.support.browser import DESK

SHOWN = """() => {
  const number = document.querySelector('.ac-kpi-number');
  return number && /[1-9]/.test(number.textContent) ? performance.now() : 0;
}"""


async def milliseconds(browser: Browser, url: str, *, rounds: int, slow: bool) -> tuple[float, float]:
    """Medians from the navigation until the first number is there: cold, warm."""
    cold, warm = [], []
    for _ in range(rounds):
        context = await browser.new_context(viewport=DESK)
        try:
            cold.append(await _once(context, url, slow))
            warm.append(await _once(context, url, slow))
        finally:
            await context.close()
    return statistics.median(cold), statistics.median(warm)


async def _once(context: BrowserContext, url: str, slow: bool) -> float:
    page = await context.new_page()
    if slow:
        session = await context.new_cdp_session(page)
        await session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    await page.goto(url, wait_until="commit")
    shown = await page.wait_for_function(SHOWN, polling="raf", timeout=30_000)
    took: float = await shown.json_value()
    await page.close()
    return took


async def transferred(browser: Browser, url: str) -> int:
    """Bytes that come over the line until the first number is there, with an empty cache."""
    context = await browser.new_context(viewport=DESK)
    try:
        page = await context.new_page()
        session = await context.new_cdp_session(page)
        await session.send("Network.enable")
        sizes: list[float] = []
        session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        await page.goto(url, wait_until="commit")
        await page.wait_for_function(SHOWN, polling="raf", timeout=30_000)
        return int(sum(sizes))
    finally:
        await context.close()
