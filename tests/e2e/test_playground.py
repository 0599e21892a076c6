"""The playground in a real browser: people on two nodes, by mouse, keyboard and touch."""

import os
import re
import tempfile

import pytest
from playwright.sync_api import expect, sync_playwright

from support import recorded
from support.deadline import eventually
from support.peer import Peer
from support.playground import Playground, faint, focus, small, unnamed, weight
from support.tokens import SECRET
from test_browser import CHROMIUM, FLAGS

PATIENCE_MS = 15_000
# Compressed, before anything is typed.
FIRST_LOAD = 250_000
PHONE = {"width": 360, "height": 740}
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "frame-ancestors 'none'",
}


@pytest.fixture(scope="module")
def redis(children):
    return children.redis()


@pytest.fixture(scope="module")
def nodes(children, redis):
    return [children.node(name, REDIS_URL=redis.url, LEAVE_GRACE=0.5, BEAT_INTERVAL=0.5) for name in ("north", "south")]


@pytest.fixture(scope="module")
def alone(children):
    """Has a database, so it records."""
    return children.node("alone", LEAVE_GRACE=0.5)


@pytest.fixture(scope="module")
def browsers():
    """Of a person at a desk, and of one with a phone."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:

        def launch(name, **options):
            context = playwright.chromium.launch_persistent_context(
                os.path.join(folder, name), executable_path=CHROMIUM, args=FLAGS, chromium_sandbox=False, **options
            )
            context.set_default_timeout(PATIENCE_MS)
            return context

        desk = launch("desk", viewport={"width": 1280, "height": 800})
        phone = launch("phone", viewport=PHONE, has_touch=True, is_mobile=True)
        yield {"desk": desk, "phone": phone}
        phone.close()
        desk.close()


@pytest.fixture
def tab(browsers):
    """Opens a tab; complaints of the browser, its policy's too, and requests to elsewhere fail the test."""
    pages, loaded, complaints, asked = [], [], [], []
    # A guest's name may be taken: then there is a number behind it.
    expected = ["409 (Conflict)"]

    def tab(node, session=None, browser="desk", expects=()):
        page = browsers[browser].new_page()
        pages.append(page)
        expected.extend(expects)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
        page.on("request", lambda request: asked.append(request.url))
        playground = Playground(page, node, session)
        loaded.append(page)
        return playground

    yield tab
    for page in pages:
        # Names and themes are remembered by the browser, which the next test has, too.
        if page in loaded and not page.is_closed():
            page.evaluate("localStorage.clear()")
        page.close()
    assert [complaint for complaint in complaints if not any(words in complaint for words in expected)] == []
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))] == []


def everything(tab, node):
    """A host with all that the page has: a recorded session with somebody else in it, a thread, a reaction."""
    host = tab(node).there()
    host.type("def f():\n    return 1")
    host.page.get_by_role("button", name="Record").click()
    host.page.get_by_role("dialog").get_by_role("button", name="Record").click()
    host.page.wait_for_url("**session=r-*")
    host.there()
    other = tab(node, host.session).be_guest().there()
    host.say("a question")
    host.message("a question").get_by_role("button", name="Reply").click()
    host.say("an answer")
    expect(other.lines.locator(".answers")).to_contain_text("an answer")
    host.message("a question").get_by_role("button", name="React to").click()
    host.page.get_by_role("button", name="React with 👍").click()
    expect(other.message("a question")).to_contain_text("👍 1")
    return host, other


def test_a_newcomer_types_and_a_second_tab_on_another_node_sees_it(nodes, tab):
    """The first thing somebody tries does not work: open the page, send the link, type."""
    ann = tab(nodes[0]).there()
    assert ann.code.evaluate("element => element === document.activeElement")
    ann.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ann.page.get_by_role("button", name="Copy link").click()
    expect(ann.page.get_by_role("button", name="Copied")).to_be_visible()
    link = ann.page.evaluate("navigator.clipboard.readText()")
    assert link == f"http://{nodes[0].address}/playground?session={ann.session}"
    bob = tab(nodes[1], ann.session).there()
    ann.type("print('👩‍👩‍👧 👋🏽')")
    bob.shows("print('👩‍👩‍👧 👋🏽')")
    bob.type("\nprint(2)  # 😀")
    both = "print('👩‍👩‍👧 👋🏽')\nprint(2)  # 😀"
    ann.shows(both)
    ann.there()
    bob.there()
    eventually(lambda: nodes[0].state(ann.session)["code"] == both, "REST says the same")
    # Undoing takes back one's own.
    bob.page.keyboard.press("Control+z")
    ann.shows("print('👩‍👩‍👧 👋🏽')")


def test_people_are_told_apart_and_found(nodes, session, tab):
    """Somebody's caret, name or colour is missing, both have one colour, or who left stays on the list."""
    ann, bob = tab(nodes[0], session).there(), tab(nodes[1], session).there()
    for playground in (ann, bob):
        expect(playground.people).to_have_count(2)
    page = bob.page
    page.fill("#name", "Bob 🎈")
    page.press("#name", "Enter")
    expect(ann.people.filter(has_text="Bob 🎈")).to_have_count(1)
    swatches = ann.page.locator("#people .swatch")
    colours = swatches.evaluate_all("all => all.map((each) => getComputedStyle(each).backgroundColor)")
    assert len(set(colours)) == 2, colours

    bob.type("\n".join(f"line {number}" for number in range(1, 101)))
    caret = ann.page.locator("#editor .cm-peer")
    # Her view is at the beginning, his caret at the end.
    expect(caret).not_to_be_in_viewport()
    ann.people.filter(has_text="Bob 🎈").get_by_role("button", name="Go to Bob 🎈's caret").click()
    expect(caret).to_be_in_viewport()
    expect(caret).to_have_attribute("data-name", "Bob 🎈")
    bob.page.close()
    expect(ann.people).to_have_count(1)
    expect(caret).to_have_count(0)


def test_the_second_client_and_the_editor_edit_one_text(nodes, session, tab):
    """What a whole-text client writes overwrites what was typed in the editor, or the other way round."""
    ann, bob = tab(nodes[0], session).there(), tab(nodes[1], session).there()
    ann.page.get_by_role("button", name="Second client").click()
    expect(ann.page.locator("#pane")).to_contain_text("connected")
    bob.type("one\ntwo\nthree")
    expect(ann.field).to_have_value("one\ntwo\nthree")
    # In the middle of the text, while somebody else writes at its end: the caret stays where it was.
    ann.field.focus()
    ann.field.evaluate("field => field.setSelectionRange(3, 3)")
    bob.page.keyboard.insert_text("\nfour")
    expect(ann.field).to_have_value("one\ntwo\nthree\nfour")
    for number in range(10):
        ann.page.keyboard.type(str(number))
        bob.page.keyboard.type(chr(ord("a") + number))
    whole = "one0123456789\ntwo\nthree\nfourabcdefghij"
    for playground in (ann, bob):
        playground.shows(whole)
    expect(ann.field).to_have_value(whole)
    assert ann.field.evaluate("field => field.selectionEnd") == len("one0123456789")
    # Its caret is seen in the editor, where it is.
    expect(bob.code.locator(".cm-line").first.locator(".cm-peer[data-name$='(pairing)']")).to_have_count(1)
    ann.page.keyboard.type("!")
    expect(ann.page.locator("#pane .frames")).to_contain_text("→ {\"type\":\"code_change\"")
    ann.page.get_by_role("button", name="Second client").click()
    expect(ann.field).to_be_hidden()


def test_a_client_of_another_dialect_is_seen_and_sees(nodes, session, tab):
    """The page's text reaches no pairing client, or its chat, language and caret do not reach the page."""
    ann = tab(nodes[0], session).there()
    with Peer(nodes[1], session, "peer", "Peer") as peer:
        ann.type("x = 1\ny = 2")
        peer.until(lambda frame: frame["type"] == "code_update" and frame["code"] == "x = 1\ny = 2")
        peer.send("cursor_move", cursor={"lineNumber": 2, "column": 2})
        expect(ann.code.locator(".cm-line").last.locator(".cm-peer")).to_have_attribute("data-name", "Peer")
        peer.send("language_change", language="rust")
        expect(ann.page.locator("#language")).to_have_value("rust")
        ann.page.select_option("#language", "sql")
        peer.until(lambda frame: frame["type"] == "language_change" and frame["language"] == "sql")
        evil = "<img src=x onerror=\"document.title='owned'\">"
        peer.send("chat", message=evil)
        expect(ann.lines).to_contain_text(evil)
        ann.say("hello, peer")
        peer.until(lambda frame: frame["type"] == "chat_message" and frame["text"] == "hello, peer")
        assert ann.page.locator("img[src='x']").count() == 0
        assert ann.page.title() != "owned"
    expect(ann.people).to_have_count(1)


def test_every_language_is_coloured(alone, session, tab):
    """A language's bundle is missing, or the policy keeps it out."""
    ann = tab(alone, session).there()
    ann.type('# heading "text"\nSELECT 1; <b>"x"</b> /* c */ {"a": 1}')
    for language in ann.page.locator("#language option").evaluate_all("all => all.map((each) => each.value)"):
        ann.page.select_option("#language", language)
        expect(ann.page.locator("#language")).to_have_value(language)
        expect(ann.code.locator(".cm-line span").first).to_be_attached()


def test_what_is_typed_while_the_node_is_away_is_kept(own_children, session, tab):
    """A node's restart costs what was typed meanwhile, or the light says saved all the time."""
    redis = own_children.redis(durable=True)
    node = own_children.node("north", REDIS_URL=redis.url)
    ann = tab(node, session, expects=["WebSocket connection", "Failed to load resource"]).there()
    ann.type("before")
    ann.there()
    node.kill()
    expect(ann.light).to_have_attribute("data-state", "offline")
    ann.page.keyboard.insert_text(", meanwhile")
    ann.page.keyboard.insert_text(", and more")
    expect(ann.light).to_have_text("Offline, 2 unsaved edits kept")
    node.start()
    ann.there()
    assert node.state(session)["code"] == "before, meanwhile, and more"
    expect(ann.page.locator("#spoken")).to_have_text("Online.")


def test_a_document_made_anew_is_begun_anew(own_children, session, tab):
    """A page that kept the text of a former life doubles it for everybody."""
    redis = own_children.redis(durable=True)
    node = own_children.node("north", REDIS_URL=redis.url)
    ann = tab(node, session, expects=["WebSocket connection", "Failed to load resource"]).there()
    ann.type("of the former life")
    ann.there()
    node.kill()
    expect(ann.light).to_have_attribute("data-state", "offline")
    redis.client.flushall()
    new = {"session_id": session, "code": "of the new life", "language": "python"}
    redis.client.hset(f"session:{session}", mapping=new)
    node.start()
    ann.shows("of the new life")
    expect(ann.page.locator("#notices")).to_contain_text("made anew")
    ann.type("!")
    ann.there()
    assert node.state(session)["code"] == "of the new life!"


def test_a_recorded_session_has_threads_roles_and_replay(alone, tab):
    """Recording loses the text, a viewer writes, or a replay shows something that never was."""
    host, other = everything(tab, alone)
    other.shows("def f():\n    return 1")
    other.message("a question").get_by_role("button", name="👍 1, add yours").click()
    expect(host.message("a question")).to_contain_text("👍 2")

    row = host.people.filter(has_not_text="you")
    row.get_by_role("combobox").select_option("viewer")
    expect(other.page.locator("#readonly")).to_be_visible()
    expect(other.page.locator("#message")).to_be_disabled()
    other.code.click()
    other.page.keyboard.type("not mine to write")
    # Nothing came of it, so nothing had to be taken back either.
    other.shows("def f():\n    return 1")
    expect(other.page.locator("#notices")).to_be_empty()
    row.get_by_role("combobox").select_option("editor")
    expect(other.page.locator("#readonly")).to_be_hidden()
    other.type("\nf()")
    host.shows("def f():\n    return 1\nf()")

    host.page.get_by_role("button", name="Replay").click()
    replay = host.page.get_by_role("region", name="Replay")
    slider = replay.get_by_role("slider", name="Version")
    expect(slider).to_be_focused()
    expect(replay.locator(".cm-content")).to_contain_text("f()")
    # The last step added that line, the first was the host's.
    expect(replay.locator(".cm-added")).to_contain_text("f()")
    slider.press("Home")
    expect(replay.locator(".cm-content")).to_have_text("def f():    return 1")
    expect(replay.locator(".caption")).to_contain_text(host.name)
    replay.get_by_role("button", name="Play").click()
    expect(replay.locator(".cm-content")).to_contain_text("f()", use_inner_text=True)
    expect(replay.get_by_role("button", name="Play")).to_be_visible()
    host.page.keyboard.press("Escape")
    expect(replay).to_be_hidden()
    expect(host.page.get_by_role("button", name="Replay")).to_be_focused()
    host.message("an answer").get_by_role("button", name="Delete").click()
    expect(other.lines).to_contain_text("This message was deleted.")
    other.page.reload()
    other.there()
    expect(other.message("a question")).to_contain_text("👍 2")


def test_where_tokens_are_wanted_one_registers_first(own_children, session, tab):
    """With tokens the page is an empty editor that connects for ever, or registering leads nowhere."""
    node = own_children.node(JWT_SECRET=SECRET)
    ann = tab(node, session, expects=["401"])
    dialog = ann.page.get_by_role("dialog", name="Who are you?")
    expect(dialog.get_by_role("button", name="Guest")).to_have_count(0)
    dialog.get_by_role("button", name="Register").click()
    dialog.get_by_label("User name").fill("ann")
    dialog.get_by_label("Email").fill("ann@example.org")
    dialog.get_by_label("Password").fill("canary-password")
    dialog.get_by_role("button", name="Register").last.click()
    ann.there()
    ann.type("in")
    ann.there()
    expect(ann.page.locator("#cluster")).to_contain_text("1 node")
    ann.page.get_by_role("button", name="ann").click()
    ann.page.get_by_role("button", name="Sign out").click()
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Sign in").first.click()
    dialog.get_by_label("User name").fill("ann")
    dialog.get_by_label("Password").fill("wrong-password")
    dialog.get_by_role("button", name="Sign in").last.click()
    expect(dialog.get_by_role("alert")).not_to_be_empty()
    dialog.get_by_label("Password").fill("canary-password")
    dialog.get_by_role("button", name="Sign in").last.click()
    ann.shows("in")


def test_an_ended_session_is_left_alone(alone, session, tab):
    """A page whose session was ended goes on trying, or lets one type into nothing."""
    ann = tab(alone, session).there()
    tries = []
    ann.page.on("websocket", lambda socket: tries.append(socket.url))
    alone.delete(f"/api/v1/session/{session}")
    expect(ann.light).to_have_attribute("data-state", "refused")
    expect(ann.page.locator("#notices")).to_contain_text("ended")
    expect(ann.code).to_have_attribute("aria-readonly", "true")
    # As many seconds as it would come back in, had it not been told: a backoff ends at 2.5 s.
    ann.page.wait_for_timeout(3_000)
    assert tries == []
    ann.page.get_by_role("button", name="Begin another session").click()
    ann.there()
    assert ann.session != session


def test_the_strip_shows_nodes_sockets_and_events(nodes, session, tab):
    """The cluster strip is empty, counts nothing, or goes on asking while nobody looks."""
    ann = tab(nodes[0], session).there()
    strip = ann.page.get_by_role("contentinfo", name="Cluster")
    for node in nodes:
        expect(strip.get_by_role("list", name="Sockets by node")).to_contain_text(node.name)
    expect(strip).to_contain_text("2 nodes")
    with Peer(nodes[1], session, "peer") as peer:
        for number in range(50):
            peer.send("chat", message=str(number))
        expect(strip.locator(".rate b")).to_have_text(re.compile(r"^[1-9]|^0\.[1-9]"))


def test_nothing_breaks_the_policy_and_all_of_it_is_used(alone, tab):
    """The node's policy is loose, or a part of the page needs one that is."""
    answer = alone.get("/playground", headers={"Accept": "text/html"})
    said = {part.strip() for part in answer.headers["content-security-policy"].split(";")}
    assert POLICY <= said, said
    assert not any("unsafe" in part for part in said)
    host, _ = everything(tab, alone)
    host.code.click()
    host.page.keyboard.press("Control+f")
    host.page.keyboard.type("return")
    expect(host.page.locator(".cm-searchMatch")).to_have_count(1)
    # The search's own styles are there, not only its elements.
    assert host.page.locator(".cm-searchMatch").evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    host.page.get_by_role("button", name="Second client").click()
    expect(host.field).to_have_value("def f():\n    return 1")


def test_the_first_load_is_small(alone, session, browsers):
    """The page got heavy: a language or the replay is in its first load."""
    page = browsers["desk"].new_page()
    assert weight(page, alone, session) < FIRST_LOAD
    page.close()


def test_the_keyboard_reaches_everything_and_gets_out_again(alone, session, tab):
    """A control cannot be reached without a mouse, has no visible focus, or the editor keeps the focus for good."""
    ann = tab(alone, session).there()
    ann.page.locator("#skip").focus()
    reached = []
    while (now := focus(ann.page))["tag"] != "BODY":
        assert now["seen"], now
        reached.append(now["id"])
        if now["id"] == "editor":
            ann.page.keyboard.insert_text("x")
            ann.page.keyboard.press("Tab")
            assert focus(ann.page)["id"] == "editor"
            ann.page.keyboard.press("Escape")
        ann.page.keyboard.press("Tab")
        assert len(reached) < 40, reached
    wanted = ["skip", "copy", "record", "account", "theme", "language", "pane-toggle", "editor"]
    wanted += ["name", "lines", "message", "send", "frames"]
    assert [each for each in reached if each in wanted] == wanted
    ann.shows("x    ")
    ann.page.locator("#skip").press("Enter")
    assert focus(ann.page)["id"] == "editor"


def test_everything_has_a_name_and_a_place(alone, tab):
    """A screen reader finds a control without a name, or no landmarks to go by."""
    host, _ = everything(tab, alone)
    host.page.get_by_role("button", name="Second client").click()
    host.page.get_by_role("button", name="Replay").click()
    expect(host.page.get_by_role("slider")).to_be_visible()
    assert unnamed(host.page) == []
    for landmark in ("banner", "main", "complementary", "contentinfo"):
        expect(host.page.get_by_role(landmark)).to_have_count(1)
    for region in ("Code", "People", "Chat", "Replay"):
        expect(host.page.get_by_role("region", name=region, exact=True)).to_have_count(1)
    assert host.page.get_by_role("log", name="Chat").get_attribute("tabindex") == "0"
    assert host.page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize("browser", ["desk", "phone"])
def test_it_can_be_read_in_light_and_in_the_dark(alone, tab, tmp_path, browser):
    """Letters are too faint on one of the themes, or on a phone."""
    host, _ = everything(lambda node, session=None: tab(node, session, browser), alone)
    page = host.page
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert faint(page) == [], scheme
        page.screenshot(path=tmp_path / f"{browser}-{scheme}.png")
    # The button goes before the system.
    page.get_by_role("button", name="Theme: system").click()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_it_works_on_a_phone(alone, tab):
    """On a phone the page must be moved sideways, or a finger misses what it points at."""
    host, other = everything(lambda node, session=None: tab(node, session, "phone"), alone)
    host.type("\n# a line that is much longer than the screen is wide" * 20 + "x" * 500)
    other.page.get_by_role("button", name="Replay").tap()
    expect(other.page.locator(".replay .cm-content")).to_contain_text("xxx")
    for playground in (host, other):
        assert playground.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert small(playground.page, 44) == []
    expect(host.page.locator("#pane")).to_be_hidden()
    host.page.get_by_role("button", name="Second client").tap()
    expect(host.field).to_be_visible()
    assert host.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    other.page.get_by_role("button", name="Close").tap()
    other.code.tap()
    other.page.keyboard.insert_text("# by a finger")
    expect(host.code).to_contain_text("# by a finger")


def test_a_mouse_hits_every_control(alone, tab):
    """A control is smaller than 24 by 24."""
    host, _ = everything(tab, alone)
    host.page.get_by_role("button", name="Replay").click()
    expect(host.page.get_by_role("slider")).to_be_visible()
    assert small(host.page, 24) == []
