"""Programs of docs/clients.md as they stand there: in Chromium, in Node and in Python, and a way to nodes that loses
what they answer."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass

from playwright.sync_api import sync_playwright

from .deadline import eventually
from .pad import JS
from .processes import ROOT
from .proxy import Proxy

DOCUMENT = ROOT / "docs/clients.md"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FENCE = re.compile(r"^```(?P<info>\S[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
# What a program says of itself at its top, to be changed by whoever copies it.
CONSTANT = r'^(?P<front>(?:const )?{name} = )".*?"'
LIBRARY = "socket.io.esm.min.js"


@dataclass(frozen=True)
class Block:
    """A fenced block; `info` is what stands behind its fence."""

    info: str
    text: str

    @property
    def file(self):
        found = re.search(r"\bfile=(\S+)", self.info)
        return found.group(1) if found else None

    @property
    def language(self):
        return self.info.split()[0]

    @property
    def places(self):
        """Where it is to run."""
        said = [word for word in self.info.split()[1:] if "=" not in word]
        return said or [self.language]

    def with_constants(self, constants):
        """The same, where another node, user and so on are meant. One that it does not declare is a mistake."""
        text = self.text
        for name, value in constants.items():
            text, count = re.subn(
                CONSTANT.format(name=name), lambda found: f'{found["front"]}"{value}"', text, flags=re.MULTILINE
            )
            assert count == 1, f"{self.file} declares {name} {count} times"
        return text

    def constants(self):
        return re.findall(r'^(?:const )?([A-Z]+) = "', self.text, re.MULTILINE)


def blocks():
    return [Block(found["info"], found["text"]) for found in FENCE.finditer(DOCUMENT.read_text())]


def named(file):
    [block] = [block for block in blocks() if block.file == file]
    return block


def lay_out(folder, block, constants):
    """Everything that a program needs, in a folder of its own."""
    folder.mkdir()
    for other in blocks():
        (folder / other.file).write_text(other.with_constants(constants) if other == block else other.text)
    (folder / "package.json").write_text('{ "type": "module" }')
    (folder / "node_modules").symlink_to(JS / "node_modules")
    shutil.copy(JS / "node_modules/socket.io-client/dist" / LIBRARY, folder)


class Process:
    """A program of Node or Python."""

    def __init__(self, arguments, folder):
        self.process = subprocess.Popen(
            arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.said = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))

    def lines(self):
        return list(self.said)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()


class Page:
    """A program of a page. It is only looked at from the thread that opened it."""

    def __init__(self, browser, url):
        self.said = []
        self.page = browser.new_page()
        self.page.on("console", lambda message: self.said.append(message.text) if message.type == "log" else None)
        self.page.on("pageerror", lambda error: self.said.append(f"failed: {error}"))
        self.page.goto(url)

    def lines(self):
        # What it said until now has come when this is answered.
        self.page.evaluate("0")
        return list(self.said)

    def end(self):
        self.page.close()


class Stage:
    """Where programs run: folders, a server for the pages, a browser."""

    def __init__(self, folder):
        self.folder, self.running = folder, []
        handler = functools.partial(Quiet, directory=folder)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.playwright = sync_playwright().start()
        self.browser = self.playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, chromium_sandbox=False)

    def run(self, name, block, place, hurried=False, **constants):
        """Begins it, and returns it. When hurried it takes half a second for silence."""
        folder = self.folder / name
        lay_out(folder, block, constants)
        if hurried:
            careful = folder / "careful.js"
            text = careful.read_text().replace("QUIET_MS = 20_000", "QUIET_MS = 250")
            assert text != careful.read_text()
            careful.write_text(text)
        match place:
            case "browser":
                page = named("page.html").text.replace("./pairing.js", f"./{block.file}")
                assert f"./{block.file}" in page
                (folder / "page.html").write_text(page)
                begun = Page(self.browser, f"http://127.0.0.1:{self.server.server_port}/{name}/page.html")
            case "node":
                begun = Process(["node", block.file], folder)
            case "python":
                begun = Process([sys.executable, block.file], folder)
        self.running.append(begun)
        return begun

    def end(self):
        for program in self.running:
            program.end()
        self.browser.close()
        self.playwright.stop()
        self.server.shutdown()
        self.server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class LosingProxy(Proxy):
    """A way that, while it is `losing`, passes on what a client says once it has been told a word, and nothing of what
    it is told from then on. Whatever else it says meanwhile, a pong say, changes nothing."""

    def __init__(self, port, word):
        self.word, self.losing, self.told, self.mute = word.encode(), False, set(), set()
        super().__init__(port)

    def _pass_on(self, source, sink):
        super()._pass_on(source, Lossy(self, source, sink))

    def lead_to(self, port):
        """Whoever comes from now on is led there."""
        self.target = ("127.0.0.1", port)

    def cut_all(self):
        """All connections end, and new ones are made as ever."""
        self.losing = False
        self.cut()
        self.mend()


class Lossy:
    """Where one direction of a connection goes."""

    def __init__(self, proxy, source, sink):
        self.proxy, self.sink = proxy, sink
        self.connection = frozenset((source, sink))
        self.to_node = source.getsockname()[1] == proxy.port

    def sendall(self, data):
        if self.to_node and self.connection in self.proxy.told:
            self.proxy.mute.add(self.connection)
        if not self.to_node and self.proxy.losing and self.proxy.word in data:
            self.proxy.told.add(self.connection)
        if self.to_node or self.connection not in self.proxy.mute:
            self.sink.sendall(data)

    def shutdown(self, how):
        self.sink.shutdown(how)
