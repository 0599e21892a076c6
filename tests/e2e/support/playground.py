"""The playground in a browser, as somebody sees, hears and handles it."""

import gzip
import re

from playwright.sync_api import expect

# Text that is smaller than large: WCAG 2.2, 1.4.3. Of what is disabled nothing is asked.
CONTRAST = 4.5
NAMED = {"button", "textbox", "combobox", "slider", "checkbox", "link", "dialog", "listbox"}


class Playground:
    """One tab. Without a session it is the page that a newcomer gets."""

    def __init__(self, page, node, session=None):
        self.page = page
        self.node = node
        path = "/" if session is None else f"/playground?session={session}"
        page.goto(f"http://{node.address}{path}")
        self.code = page.locator("#editor .cm-content")
        self.light = page.locator("#light")
        self.people = page.locator("#people > li")
        self.lines = page.locator("#threads")
        self.field = page.locator("#pane textarea")

    @property
    def session(self):
        return re.search(r"session=([^&]+)", self.page.url).group(1)

    @property
    def name(self):
        return self.page.locator("#people > li", has_text="you").locator(".name").inner_text()

    def there(self):
        """Connected, and nothing is unsaved."""
        expect(self.light).to_have_attribute("data-state", "saved")
        return self

    def type(self, text):
        """Behind what is there."""
        self.code.click()
        self.page.keyboard.press("Control+End")
        self.page.keyboard.insert_text(text)

    def shows(self, text):
        expect(self.code.locator(".cm-line")).to_have_text(text.split("\n"), use_inner_text=False)

    def say(self, text):
        self.page.fill("#message", text)
        self.page.press("#message", "Enter")

    def be_guest(self):
        """Answers who one is."""
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("button", name="Go on as a guest").click()
        return self

    def message(self, text):
        return self.page.locator(".message", has=self.page.locator(f".text >> text={text}"))


def weight(page, node, session):
    """Bytes of all that is loaded before the first letter is typed, as a server that compresses sends it."""
    loaded = []
    page.on("response", lambda response: loaded.append(response))
    Playground(page, node, session).there()
    ours = [response for response in loaded if "/playground" in response.url]
    assert len(ours) > 2, ours
    return sum(len(gzip.compress(response.body())) for response in ours)


def unnamed(page):
    """Controls that a screen reader has no name for."""
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    controls = [node for node in tree if not node["ignored"] and node.get("role", {}).get("value") in NAMED]
    assert len(controls) > 5, controls
    return [node for node in controls if not node.get("name", {}).get("value", "").strip()]


def faint(page):
    """Texts that stand out too little from what is behind them, with by how much."""
    return page.evaluate(FAINT, CONTRAST)


def small(page, least):
    """Controls that are smaller than a pointer needs; a link within a sentence may be."""
    return page.evaluate(SMALL, least)


def focus(page):
    """What has the focus, and whether that is seen."""
    return page.evaluate(FOCUS)


FAINT = """(least) => {
  const parts = (colour) => {
    const numbers = colour.match(/[\\d.]+/g).map(Number);
    const scale = colour.startsWith("color(") ? 255 : 1;
    return [numbers[0] * scale, numbers[1] * scale, numbers[2] * scale, numbers[3] ?? 1];
  };
  const over = (top, below) => top.slice(0, 3).map((part, at) => part * top[3] + below[at] * (1 - top[3]));
  const behind = (element) => {
    if (element === null) return [255, 255, 255];
    const own = parts(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, behind(element.parentElement));
  };
  const luminance = (colour) => {
    const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = colour.map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const dim = (element) => element !== null && (getComputedStyle(element).opacity < 1 || dim(element.parentElement));
  const found = [];
  let looked = 0;
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
    if (text === "" || !element.checkVisibility({ visibilityProperty: true }) || dim(element)) continue;
    looked += 1;
    const below = behind(element);
    const above = over(parts(getComputedStyle(element).color), below);
    const lights = [luminance(above), luminance(below)].sort((a, b) => a - b);
    const ratio = (lights[1] + 0.05) / (lights[0] + 0.05);
    const what = `${element.tagName}.${element.className} "${text.slice(0, 30)}"`;
    if (ratio < least) found.push(`${what}: ${ratio.toFixed(2)}`);
  }
  if (looked < 10) found.push(`only ${looked} texts were found`);
  return found;
}"""

SMALL = """(least) => {
  const found = [];
  for (const element of document.querySelectorAll("button, input, select, textarea, a[href]")) {
    if (!element.checkVisibility({ visibilityProperty: true }) || element.closest(".skip")) continue;
    const target = element.type === "checkbox" ? element.closest("label") : element;
    const { width, height } = target.getBoundingClientRect();
    if (width < least || height < least) found.push(`${element.outerHTML.slice(0, 80)}: ${width}x${height}`);
  }
  return found;
}"""

FOCUS = """() => {
  const element = document.activeElement;
  const shown = element.closest(".editor") ?? element;
  const style = getComputedStyle(shown);
  const seen = style.boxShadow !== "none" || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2);
  const editor = element.closest("#editor") !== null;
  return { id: editor ? "editor" : element.id, tag: element.tagName, text: element.textContent.slice(0, 20), seen };
}"""
