"""The try-out page in a real browser: two people on two nodes, by mouse and keyboard."""

import os
import tempfile

import pytest
from playwright.sync_api import expect, sync_playwright

from support.peer import Peer

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def nodes(children):
    redis = children.redis()
    return [children.node(name, REDIS_URL=redis.url, LEAVE_GRACE=0.5) for name in ("north", "south")]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        context = playwright.chromium.launch_persistent_context(
            folder, executable_path=CHROMIUM, args=FLAGS, chromium_sandbox=False
        )
        context.set_default_timeout(15_000)
        yield context
        context.close()


@pytest.fixture
def open_page(browser):
    """Opens a page of a node; complaints of the browser fail the test."""
    pages, complaints, asked = [], [], []

    def open_page(node, query="", path="/pairing.html"):
        page = browser.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://{node.address}{path}{query}")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))] == []


def connect(page, session, user, name):
    page.fill("#session", session)
    page.fill("#user", user)
    page.fill("#name", name)
    page.click("#connect")
    expect(page.locator("#state")).to_have_text("connected")


def test_two_pages_on_two_nodes_see_each_other(nodes, session, open_page):
    """The first thing a newcomer tries does not work: two browsers, one session."""
    north, south = open_page(nodes[0]), open_page(nodes[1])
    connect(north, session, "ann", "Ann Lee")
    connect(south, session, "bob", "Bob")
    expect(north.locator("#people")).to_contain_text("Bob")
    expect(south.locator("#people")).to_contain_text("Ann Lee")

    north.fill("#chat", "hello from the north")
    north.click("#send")
    expect(south.locator("#log")).to_contain_text("hello from the north")
    expect(south.locator("#lines")).to_contain_text("hello from the north")
    expect(north.locator("#lines")).to_contain_text("hello from the north")
    expect(north.locator("#chat")).to_have_value("")

    south.click("#code")
    south.keyboard.type("print('from the south')\n")
    expect(north.locator("#code")).to_have_value("print('from the south')\n")
    expect(north.locator("#log")).to_contain_text("code_update")
    expect(north.locator("#people")).to_contain_text("2:1")

    north.fill("#language", "rust")
    north.press("#language", "Enter")
    expect(south.locator("#language")).to_have_value("rust")

    south.click("#disconnect")
    expect(south.locator("#state")).to_have_text("not connected")
    expect(north.locator("#people")).not_to_contain_text("Bob")


def test_typing_at_both_ends_ends_with_one_text(nodes, session, open_page):
    """Two pages that type at once keep different texts for good."""
    pages = open_page(nodes[0]), open_page(nodes[1])
    connect(pages[0], session, "ann", "Ann")
    connect(pages[1], session, "bob", "Bob")
    for number in range(5):
        for page in pages:
            page.click("#code")
            page.keyboard.type(str(number))
    with Peer(nodes[0], session, "cat") as cat:
        for page in pages:
            page.wait_for_function("() => document.querySelector('#code').ariaBusy === 'false'")
        settled = nodes[1].state(session)["code"]
        for page in pages:
            expect(page.locator("#code")).to_have_value(settled)
        cat.send("code_change", code="the end")
        for page in pages:
            expect(page.locator("#code")).to_have_value("the end")


def test_the_query_fills_the_form(nodes, session, open_page):
    """A link to a session opens an empty form."""
    page = open_page(nodes[0], f"?session={session}&user=ann&name=Ann%20Lee")
    expect(page.locator("#session")).to_have_value(session)
    expect(page.locator("#user")).to_have_value("ann")
    expect(page.locator("#name")).to_have_value("Ann Lee")


def test_a_refusal_is_shown(nodes, open_page):
    """Somebody who wrote a wrong id sees nothing happen."""
    page = open_page(nodes[0])
    page.fill("#session", "{no}")
    page.fill("#user", "ann")
    page.click("#connect")
    expect(page.locator("#state")).to_contain_text("4400")


def test_what_others_write_is_shown_as_text(nodes, session, open_page):
    """A chat line, a name or a text runs as a script in everybody's page."""
    page = open_page(nodes[0])
    connect(page, session, "ann", "Ann")
    evil = "<img src=x onerror=\"document.title='owned'\">"
    with Peer(nodes[1], session, "mallory", evil) as mallory:
        mallory.ask("chat", message=evil)
        mallory.ask("language", language=evil)
        mallory.ask("code_change", code=evil)
        expect(page.locator("#code")).to_have_value(evil)
        expect(page.locator("#lines")).to_contain_text(evil)
        expect(page.locator("#people")).to_contain_text(evil)
        assert page.locator("img").count() == 0
        assert page.title() != "owned"


def test_it_fits_a_phone(nodes, session, open_page):
    """The page must be moved sideways on a small screen, or a field has no label."""
    page = open_page(nodes[0])
    page.set_viewport_size({"width": 360, "height": 740})
    connect(page, session, "ann", "Ann")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for field in page.locator("input, textarea").all():
        assert field.evaluate("field => field.labels.length") == 1


def test_the_routes_are_shown(nodes, open_page):
    """The page of the routes is empty, complains, or can try nothing out."""
    node = nodes[0]
    page = open_page(node, path="/api/docs")
    document = node.get("/api/openapi.json").json
    operations = sum(len(methods) for methods in document["paths"].values())
    expect(page.locator(".opblock")).to_have_count(operations)
    expect(page.locator(".info")).to_contain_text(document["info"]["version"])
    page.click("#operations-health-alive .opblock-summary-control")
    page.click("#operations-health-alive .try-out__btn")
    page.click("#operations-health-alive .execute")
    expect(page.locator("#operations-health-alive .live-responses-table")).to_contain_text('"alive"')
    page.click("#operations-accounts-register .opblock-summary-control")
    expect(page.locator("#operations-accounts-register")).to_contain_text("conflict")
    page.click(".authorize")
    expect(page.locator(".modal-ux")).to_contain_text("bearer")
