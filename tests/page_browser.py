"""A browser that the test of the page drives: one command a line as JSON in, one answer a line out.

Chromium without a window, by selenium. Certificates are taken as they are: the nodes' are made by themselves.
"""

import base64
import json
import sys
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

# In every page before anything of its own: what the policy refuses, and every sentence that the page has shown.
WITNESS = """
window.refused = [];
window.headlines = [];
document.addEventListener("securitypolicyviolation", (e) => window.refused.push(e.violatedDirective + " " + e.blockedURI));
const note = () => {
  const now = document.getElementById("headline");
  if (now && window.headlines.at(-1) !== now.innerText) window.headlines.push(now.innerText);
};
document.addEventListener("DOMContentLoaded", () => {
  note();
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
});
"""

# Text that is harder to read than WCAG's level AA allows: 4.5, or 3 where it is large.
CONTRAST = """
const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : Math.pow((c + 0.055) / 1.055, 2.4);
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const colour = (text) => (text.match(/[0-9.]+/g) || []).map(Number);
const bad = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let text; (text = walker.nextNode()); ) {
  const own = text.parentElement;
  if (!text.data.trim() || !own.getClientRects().length) continue;
  let ground = [255, 255, 255];
  for (let at = own; at; at = at.parentElement) {
    const found = colour(getComputedStyle(at).backgroundColor);
    if (found.length === 3 || found[3] > 0) { ground = found; break; }
  }
  const style = getComputedStyle(own);
  let ink = style.color;
  if (own.ownerSVGElement) {
    // Letters in a picture stand on their own outline, or on the rectangle that they are in.
    if (style.display === "none" || own.tagName === "title") continue;
    ink = style.fill;
    const rect = own.parentElement.querySelector("rect");
    if (style.stroke !== "none") ground = colour(style.stroke);
    else if (rect && !getComputedStyle(rect).fill.startsWith("url")) ground = colour(getComputedStyle(rect).fill);
  }
  const [a, b] = [light(colour(ink)), light(ground)].sort((x, y) => y - x);
  const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.6 && style.fontWeight >= 700);
  if ((a + 0.05) / (b + 0.05) < (large ? 3 : 4.5)) bad.push(text.data.trim() + " " + ((a + 0.05) / (b + 0.05)).toFixed(2));
}
return bad;
"""

# Text outside of the window's width, or clipped by what it stands in.
OUTSIDE = """
const bad = [];
const wide = document.documentElement.clientWidth;
for (const element of document.body.querySelectorAll("*")) {
  const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  const style = getComputedStyle(element);
  if (!own || element.tagName === "title" || style.display === "none" || style.clipPath !== "none" || element.closest("thead")) continue;
  for (const box of element.getClientRects()) {
    if (box.width > 1 && (box.right > wide + 1 || box.left < -1)) bad.push(element.tagName + " " + element.textContent.trim().slice(0, 60));
  }
}
return bad;
"""

INTERACTIVE = "a[href], button, summary, input, select, textarea, [tabindex]:not([tabindex='-1'])"


class Browser:
    def __init__(self, chromium, driver):
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars",
                         "--ignore-certificate-errors", "--disable-background-networking", "--disable-gpu"]:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self.driver.set_page_load_timeout(60)
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source=WITNESS)
        self.size(1100, 900)

    def cdp(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    def size(self, width, height):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)

    def media(self, scheme):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def text(self):
        return self.driver.execute_script("return document.body.innerText")

    def open(self, url):
        self.driver.get(url)
        return self.text()

    def requests(self):
        """What the browser has asked for since this was asked last, whether it was let or not."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def unreadable(self, width):
        """Text that is cut off, or that lies beyond the sides of the page."""
        self.size(width, 900)
        found = self.driver.execute_script(OUTSIDE)
        self.size(1100, 900)
        return found

    def printed(self, path):
        """As it would be on paper."""
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.cdp("Page.printToPDF", printBackground=False)["data"]))

    def wait(self, texts, seconds):
        """Until all of these are shown; the time that it took."""
        began = time.monotonic()
        while True:
            shown = self.text()
            missing = [text for text in texts if text not in shown]
            if not missing:
                return round(time.monotonic() - began, 2)
            if time.monotonic() - began > seconds:
                raise AssertionError(f"not shown within {seconds} s: {missing}; shown is:\n{shown}")
            time.sleep(0.1)

    def headlines(self):
        return self.driver.execute_script("return window.headlines")

    def shot(self, path, width, scheme):
        self.size(width, 900)
        self.media(scheme)
        height = self.driver.execute_script("return document.documentElement.scrollHeight")
        whole = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        image = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(image["data"]))
        self.size(1100, 900)
        self.media("light")

    def check(self, offline):
        """What must be true of the page at any moment; `offline` allows requests that nobody answered."""
        wrong = []
        for entry in self.driver.get_log("browser"):
            network = "net::ERR_" in entry["message"] and entry.get("source") == "network"
            if not (offline and network):
                wrong.append(f"console: {entry['level']} {entry['message']}")
        wrong += [f"policy: {refused}" for refused in self.driver.execute_script("return window.refused")]
        for width in [320, 360, 1100]:
            self.size(width, 900)
            wide = self.driver.execute_script("return document.documentElement.scrollWidth")
            if wide > width:
                wrong.append(f"at {width} px the page is {wide} px wide")
        for scheme in ["light", "dark"]:
            self.media(scheme)
            wrong += [f"contrast in {scheme}: {bad}" for bad in self.driver.execute_script(CONTRAST)]
        self.media("light")
        shapeless = "return [...document.querySelectorAll('.badge')].filter(b => !b.querySelector('.shape')?.textContent" \
            " || b.textContent.trim().length < 3).map(b => b.outerHTML)"
        wrong += [f"no shape or no word: {badge}" for badge in self.driver.execute_script(shapeless)]
        levels = self.driver.execute_script("return [...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
        if levels[:1] != [1] or levels.count(1) != 1 or any(b > a + 1 for a, b in zip(levels, levels[1:])):
            wrong.append(f"headings: {levels}")
        bare = self.driver.execute_script("return [...document.querySelectorAll('table')].filter(t => !t.caption).length")
        if bare:
            wrong.append(f"{bare} tables without a caption")
        if wrong:
            raise AssertionError("\n".join(wrong))
        return "well"

    def tab(self):
        """Everything that can be used is reached by Tab alone, in its order, and shows that it is."""
        # The elements themselves: what they say may change meanwhile.
        wanted = self.driver.find_elements(By.CSS_SELECTOR, INTERACTIVE)
        self.driver.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
        self.driver.execute_script("getSelection().removeAllRanges()")
        body = self.driver.find_element(By.TAG_NAME, "body")
        for place, element in enumerate(wanted):
            (body if place == 0 else self.driver.switch_to.active_element).send_keys(Keys.TAB)
            time.sleep(0.05)
            if self.driver.switch_to.active_element != element:
                found = self.driver.execute_script("return document.activeElement.outerHTML.slice(0, 200)")
                raise AssertionError(f"Tab {place + 1} of {len(wanted)} leads to {found}")
            ring = self.driver.execute_script("return getComputedStyle(document.activeElement).outlineWidth")
            if ring == "0px":
                raise AssertionError(f"nothing shows that number {place + 1} has the focus")
        # It stays there while the page is renewed.
        time.sleep(2.5)
        if wanted and self.driver.switch_to.active_element != wanted[-1]:
            raise AssertionError("the focus is lost when the page is renewed")
        return len(wanted)

    def follow(self, fragment):
        """Enter on a link within the page leads there."""
        self.driver.find_element(By.CSS_SELECTOR, f"a[href='#{fragment}']").send_keys(Keys.ENTER)
        time.sleep(0.3)
        return self.driver.execute_script("return location.hash")

    def count(self, selector):
        return len(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def without_scripts(self, url):
        self.cdp("Emulation.setScriptExecutionDisabled", value=True)
        try:
            self.driver.get(url)
            return self.driver.find_element(By.TAG_NAME, "body").text
        finally:
            self.cdp("Emulation.setScriptExecutionDisabled", value=False)

    def seen_from_elsewhere(self, url):
        """What a page of another origin makes of this one: in a frame, and by fetch."""
        self.driver.get("data:text/html,<title>elsewhere</title>")
        return self.driver.execute_async_script("""
            const [url, done] = arguments;
            const answer = fetch(url).then(() => "read", () => "refused");
            const frame = document.createElement("iframe");
            frame.src = url;
            document.documentElement.append(frame);
            answer.then((fetched) => setTimeout(() => done([fetched, frame.contentDocument === null ? "closed" : "open"]), 1000));
        """, url)


def main():
    browser = Browser(sys.argv[1], sys.argv[2])
    try:
        for line in sys.stdin:
            command = json.loads(line)
            name = command.pop("do")
            try:
                answer = {"ok": getattr(browser, name)(**command)}
            except Exception as why:  # noqa: BLE001: the test says what was asked, and fails
                answer = {"failed": f"{type(why).__name__}: {why}"}
            print(json.dumps(answer), flush=True)
    finally:
        browser.driver.quit()


main()
