"""What documents say is there: links, headings, settings, metrics, log lines, error codes, close codes."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Those that say what this program writes and takes.
CLIENTS, TROUBLE, MIGRATING, OPERATING = (
    f"docs/{name}.md" for name in ("clients", "troubleshooting", "migrating", "operating")
)
GUIDES = [CLIENTS, TROUBLE, MIGRATING, OPERATING, "SECURITY.md", "CONTRIBUTING.md"]
# Written as our settings and metrics are, and a library's, or the name of an event.
OTHERS = {"SERVER_DISCONNECT", "collab_event"}
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(`+)(.+?)\1")
LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)


def documents():
    """All of the repository's own, those not committed yet included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )
    return sorted(name for name in set(listed.stdout.split()) if (ROOT / name).exists())


def prose(name):
    return FENCE.sub("", (ROOT / name).read_text())


def spans(name):
    return [span.strip() for _, span in SPAN.findall(prose(name))]


def slug(heading):
    """A heading's anchor, as GitHub makes it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def anchors(name):
    found = set()
    for heading in HEADING.findall(prose(name)):
        anchor, number = slug(heading), 0
        while (anchor if not number else f"{anchor}-{number}") in found:
            number += 1
        found.add(anchor if not number else f"{anchor}-{number}")
    return found


@pytest.fixture(scope="module")
def source():
    """The program's own text, with what is written over several lines as it is said."""
    files = [*(ROOT / "src").rglob("*.rs"), *(ROOT / "src").rglob("*.json"), *(ROOT / "src").rglob("*.lua")]
    text = "\n".join(file.read_text() for file in files)
    return re.sub(r"\\\n\s*", "", text)


@pytest.mark.parametrize("name", documents())
def test_every_link_leads_somewhere(name):
    """A reader follows a link to a file or a section that was renamed."""
    broken = []
    for target in LINK.findall(SPAN.sub("", prose(name))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        if not file.exists():
            broken.append(f"{target}: there is no such file")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.resolve().relative_to(ROOT)):
            broken.append(f"{target}: there is no such heading")
    assert broken == []


def test_a_broken_link_would_be_seen():
    """The test above looks at nothing."""
    links = [target for name in documents() for target in LINK.findall(SPAN.sub("", prose(name)))]
    assert len(links) > 50
    assert {"#sizing", "runbooks.md"} <= set(links)
    assert slug("Redis: one server, Sentinels, a cluster") == "redis-one-server-sentinels-a-cluster"


@pytest.mark.parametrize("name", GUIDES)
def test_settings_are_those_of_the_binary(name, settings, source):
    """Somebody sets what no node reads."""
    # With an underscore, or given a value: other words in capitals may be any.
    text = (ROOT / name).read_text()
    said = set(re.findall(r"(?<![\w/])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?!\w)", text))
    said |= set(re.findall(r"(?<![\w-])([A-Z][A-Z0-9_]+)=[^=]", text))
    scripts = " ".join(file.read_text() for file in (ROOT / "deploy").glob("*.sh"))
    programs = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", scripts)) | constants()
    aliases = set(re.findall(r'aliases: &\["([A-Z_]+)"\]', source))
    assert said - settings - programs - aliases - OTHERS == set()


def constants():
    """Names that the programs of the guide for clients give to their own values."""
    return set(re.findall(r"^(?:const )?([A-Z_]+) = ", (ROOT / CLIENTS).read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", GUIDES)
def test_metrics_are_those_of_the_binary(name):
    """Somebody watches a metric that is always empty."""
    listed = (ROOT / "src/telemetry/metrics/list.rs").read_text()
    known = set(re.findall(r'"(collab_\w+)"', listed))
    # In a pattern for grep they stand in groups.
    said = set(re.findall(r"\bcollab_[a-z0-9_]+", (ROOT / name).read_text())) - OTHERS
    assert {metric for metric in said if re.sub("_(bucket|sum|count)$", "", metric) not in known} == set()


def test_log_lines_are_said_by_the_program(source):
    """Somebody searches the log for a line that is never written."""
    said = [line for line in re.findall(r'"([^"\n]{6,}?)"', SPAN.sub("", prose(TROUBLE)))]
    assert len(said) > 40
    assert [line for line in said if line not in source] == []


@pytest.mark.parametrize("name", [CLIENTS, TROUBLE, MIGRATING])
def test_codes_and_fields_are_in_the_program(name, source):
    """Somebody waits for an error or a field that was called otherwise."""
    words = {span for span in spans(name) if re.fullmatch(r"[a-z]+(?:_[a-z]+)+", span)}
    others = " ".join((ROOT / "deploy" / file).read_text() for file in ("nginx.conf", "compose.yaml"))
    # Other programs' own settings and figures.
    known = {"process_open_fds", "process_max_fds", "max_connections", "connect_error", "hashed_password"}
    known |= {"node_modules"}
    assert {word for word in words if not re.search(rf"\b{word}\b", source + others)} - known == set()


@pytest.mark.parametrize("name", [CLIENTS, TROUBLE, MIGRATING, OPERATING])
def test_close_codes_are_those_of_the_program(name, source):
    """A client treats a code that never comes, and lacks one that does."""
    known = set(re.findall(r": u16 = (\d{4});", source))
    assert {"1012", "1013", "4401", "4410", "4503"} <= known
    said = re.findall(r"(?<![\d.:/-])(10[01]\d|44\d\d|45\d\d)(?![\d.])", (ROOT / name).read_text())
    assert set(said) - known == set()


def test_the_guide_for_clients_has_every_close_code(source):
    """A code that came later stands in no client's table."""
    known = set(re.findall(r": u16 = (\d{4});", source))
    table = prose(CLIENTS).split("| code |")[1].split("\n\n")[0]
    # 1005 is never on the wire.
    assert known - set(re.findall(r"\d{4}", table)) - {"1005"} == set()
