"""Which pages may connect, what pages may do, and everything again over TLS."""

import datetime
import ipaddress
import json
import os
import signal
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support import processes, shapes
from support.deadline import eventually
from support.http import assert_problem
from support.peer import door, heard, unique
from support.processes import Node
from support.raw import CLOSE, PING, PONG, TEXT, RawSocket, Wire, close_payload, frame, handshake, refused, turned_away
from support.tokens import SECRET, bearer, token

LISTED, STRANGE = "https://app.example", "https://evil.example"
CODE_BYTES = 512 * 1024


# Origins


@pytest.fixture(scope="module")
def by_origin(children):
    """A node for each kind of ALLOWED_ORIGINS, by that kind."""
    return {
        "open": children.node("any"),
        "tokens": children.node("same-host", JWT_SECRET=SECRET, HOST="127.0.0.1"),
        "list": children.node("listed", ALLOWED_ORIGINS=f"{LISTED}, http://localhost:3000"),
        "star": children.node("star", JWT_SECRET=SECRET, HOST="127.0.0.1", ALLOWED_ORIGINS="*"),
    }


def comes_in(node, origin, **headers):
    """Whether a page of this origin may open a socket."""
    path = door("demo", token=token("ann"), user_id="ann")
    with RawSocket(node, path, Origin=origin, **headers) as raw:
        assert raw.answer.status == 101
        opcode, payload, _ = raw.recv_frame()
        if opcode == TEXT:
            return True
        assert opcode == CLOSE and payload[:2] == (1008).to_bytes(2, "big"), payload
        return False


def may_call(node, origin):
    """Whether a page of this origin may call the REST API: by the preflight, and by the answer itself."""
    headers = {"Origin": origin}
    asked = headers | {
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    preflight = node.options("/api/v1/session/demo", headers=asked)
    assert preflight.status == 200, preflight
    allowed = preflight.headers.get("access-control-allow-origin") in ("*", origin)
    if allowed:
        assert "DELETE" in preflight.headers["access-control-allow-methods"]
        assert {"authorization", "content-type"} <= set(preflight.headers["access-control-allow-headers"].split(","))
    assert "access-control-allow-credentials" not in preflight.headers, "no cookies are used here"
    answer = node.get("/api/v1/session/nowhere/state", headers=headers | bearer(token("ann")))
    assert answer.status == 404
    assert (answer.headers.get("access-control-allow-origin") in ("*", origin)) == allowed
    return allowed


@pytest.mark.parametrize(
    "kind,origin,right",
    [
        ("open", STRANGE, True),
        ("open", "null", True),
        ("star", STRANGE, True),
        ("list", LISTED, True),
        ("list", "http://localhost:3000", True),
        ("list", STRANGE, False),
        ("list", "null", False),
        ("list", LISTED + ".evil.example", False),
        ("list", "http://app.example", False),
        ("list", LISTED + ":8443", False),
        ("tokens", STRANGE, False),
        ("tokens", "null", False),
        ("tokens", "", False),
    ],
)
def test_pages_may_connect_and_call_by_the_same_list(by_origin, kind, origin, right):
    """A page of anybody reads along with its visitor's token; or the WebSocket and REST disagree about it."""
    node = by_origin[kind]
    assert comes_in(node, origin) == right
    assert may_call(node, origin) == right


def test_pages_of_the_same_host_need_no_list(by_origin):
    """The node's own page cannot connect; or another port or a lying Host counts as the same."""
    node = by_origin["tokens"]
    own = f"http://{node.address}"
    assert comes_in(node, own)
    assert comes_in(node, "https://collab.example", Host="collab.example")
    assert comes_in(node, "https://collab.example", Host="Collab.example:443")
    assert not comes_in(node, f"http://{node.host}:{node.port + 1}")
    assert not comes_in(node, f"http://{node.host}")
    assert not comes_in(node, own + ".evil.example")
    with RawSocket(node, door("demo", token=token("ann"))) as raw:
        assert raw.recv_json()["type"] == "session_state", "who says no origin is no browser"


def test_a_refused_origin_learns_nothing(by_origin):
    """A page that may not connect can try tokens and sessions all the same."""
    node = by_origin["tokens"]
    for path in (door("demo", token="canary"), door("demo"), door("a b", token=token())):
        told = refused(node, path, Origin=STRANGE)
        assert (told.status, told.close) == (101, 1008)


# Pages


@pytest.mark.parametrize("path", ["/", "/pairing.html"])
def test_pages_carry_the_headers_that_keep_them_safe(by_origin, path):
    """A page runs what somebody put into it, or is shown in somebody's frame."""
    page = by_origin["open"].get(path, headers={"Accept": "text/html"})
    assert page.status == 200 and page.kind == "text/html"
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["referrer-policy"] == "no-referrer", "a page's address may hold a token"
    assert "strict-transport-security" not in page.headers, "there is no TLS here"
    # What the policy forbids is not there either.
    assert "<script>" not in page.text and "<style>" not in page.text and " onclick=" not in page.text


def test_no_answer_lets_a_browser_guess_its_type(by_origin):
    """A chat line or an error is taken for a page."""
    node = by_origin["tokens"]
    for path in ("/", "/pairing.js", "/pairing.css", "/livez", "/status", "/nowhere", "/api/v1/session/demo/state"):
        assert node.get(path).headers["x-content-type-options"] == "nosniff", path
    assert turned_away(node, door("demo")).headers["x-content-type-options"] == "nosniff"
    assert node.post("/livez", {}).headers["x-content-type-options"] == "nosniff"


# TLS


class Certificate:
    """Signed by itself, for this machine; `number` tells one from another."""

    def __init__(self, number):
        self.number = number
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"node {number}")])
        now = datetime.datetime.now(datetime.UTC)
        alternatives = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(number)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.context = ssl.create_default_context(cadata=self.pem.decode())


class Files:
    """The files a node reads its certificate from."""

    def __init__(self, folder, certificate):
        self.certificate, self.key = folder / "chain.pem", folder / "key.pem"
        self.put(certificate.pem, certificate.key)

    def put(self, pem, key):
        """In place of what was there at once, each, as tools do that renew certificates."""
        for path, content in ((self.key, key), (self.certificate, pem)):
            fresh = path.with_suffix(".new")
            fresh.write_bytes(content)
            os.replace(fresh, path)

    @property
    def settings(self):
        return {"TLS_CERT": self.certificate, "TLS_KEY": self.key}


def start(children, name, files, **settings):
    """A node that speaks TLS; one cannot ask it in plain text whether it is ready."""
    node = children.adopt(Node(name, **files.settings, **settings))
    node.spawn()
    processes.running.append(node)
    eventually(lambda: '"listening"' in node.log() or not node.alive, "the node listens")
    return node


def trusting(*certificates):
    return ssl.create_default_context(cadata="".join(one.pem.decode() for one in certificates))


def shown(node):
    """The number of the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with Wire(node, tls=context) as wire:
        return x509.load_der_x509_certificate(wire.socket.getpeercert(binary_form=True)).serial_number


@pytest.fixture(scope="module")
def first():
    return Certificate(1)


@pytest.fixture(scope="module")
def second():
    return Certificate(2)


@pytest.fixture(scope="module")
def node(children, tmp_path_factory, first):
    """A node with TLS whose certificate stays."""
    files = Files(tmp_path_factory.mktemp("tls"), first)
    return start(children, "tls", files, LEAVE_GRACE=0.2, HANDSHAKE_TIMEOUT=3, CLOSE_TIMEOUT=2)


@pytest.fixture
def pair(node, first, session, join):
    """Ann and Bob, encrypted."""
    ann, bob = (join(node, session, user, tls=first.context) for user in ("ann", "bob"))
    ann.hears(shapes.joined("bob"))
    return ann, bob


def get(node, path, context, **headers):
    with Wire(node, tls=context) as wire:
        lines = [f"GET {path} HTTP/1.1", f"Host: {node.address}", *(f"{k}: {v}" for k, v in headers.items())]
        wire.send("\r\n".join([*lines, "", ""]).encode())
        return wire.http_answer()


def test_everything_is_said_over_tls(node, pair, session):
    """The dialect works over TCP only, or a frame is lost between two encrypted records."""
    ann, bob = pair
    ann.send("chat", message="hello")
    bob.hears(shapes.chat_message("ann", "hello"))
    ann.hears(shapes.chat_message("ann", "hello"))
    for size in (1, 16_383, 16_384, 16_385, CODE_BYTES):
        code = "é" * (size // 2) + "x" * (size % 2)
        answer = ann.ask("code_change", code=code, base_version=0 if size == 1 else version)
        assert answer["type"] == "code_ack", answer
        version = answer["version"]
        assert bob.expect("code_update")["code"] == code
    code = "y" * CODE_BYTES
    bob.send("code_change", code=code)
    assert ann.expect("code_update")["code"] == code


def test_a_burst_of_many_small_lines(pair):
    """Frames that wait for encryption are lost, repeated or out of order; or wait for the next one."""
    ann, bob = pair
    lines = [f"line {n}" for n in range(200)]
    for line in lines:
        ann.send("chat", message=line)
    assert [bob.expect("chat_message")["text"] for _ in lines] == lines
    assert [ann.expect("chat_message")["text"] for _ in lines] == lines


def test_five_hundred_lines_to_a_reader(node, first, session, join):
    """An outbox of many small frames is written one record a time, and its end is left behind."""
    bob = join(node, session, "bob", tls=first.context)
    with RawSocket(node, door(session, "ann"), wire={"tls": first.context}) as ann:
        assert ann.recv_json()["type"] == "session_state"
        bob.hears(shapes.joined("ann"))
        frames = [
            frame(TEXT, json.dumps({"type": "chat", "message": f"line {n}"}).encode()) for n in range(500)
        ]
        ann.send(b"".join(frames))
        expected = [f"line {n}" for n in range(500)]
        assert [bob.expect("chat_message")["text"] for _ in expected] == expected
        assert [ann.recv_json()["text"] for _ in expected] == expected


def test_a_slow_reader_over_tls_is_closed_and_costs_nobody_else(children, tmp_path, first, session, join):
    """One who does not read stops the others, or makes the node hold what it cannot send."""
    node = start(children, "slow", Files(tmp_path, first), OUTBOX_BYTES=200_000, CLOSE_TIMEOUT=5)
    ann, bob = (join(node, session, user, tls=first.context) for user in ("ann", "bob"))
    slow = RawSocket(node, door(session, "slow"), receive_buffer=4096, wire={"tls": first.context})
    with slow:
        ann.until(lambda said: said == shapes.joined("slow"))
        worst, lines = 0.0, 0
        text = "x" * 8_000
        while '"code":4503' not in node.log():
            began = time.monotonic()
            assert ann.ask("chat", message=text)["type"] == "ack"
            worst, lines = max(worst, time.monotonic() - began), lines + 1
            assert lines < 5_000, "the slow reader is never closed"
        print(f"closed after {lines} lines; ann waited {worst * 1000:.0f} ms at worst")
        assert worst < 3
        count = 0
        while count < lines:
            count += bob.recv()["type"] == "chat_message"
        assert ann.ask("chat", message="still here")["type"] == "ack"
        # What was on its way is still there to be read, and behind it the reason.
        assert slow.closing() == 4503


def test_ping_and_close_over_tls(node, first, session):
    """A pong waits for the next frame, or a close is not answered, and the peer sees a cut connection."""
    with RawSocket(node, door(session, "ann"), wire={"tls": first.context}) as raw:
        raw.recv_json()
        raw.send_frame(PING, b"are you there")
        assert raw.recv_frame()[:2] == (PONG, b"are you there")
        raw.send_frame(CLOSE, close_payload(1000, b"bye"))
        assert raw.recv_frame()[:2] == (CLOSE, close_payload(1000, b"bye"))
        # The end of the connection is said, not cut: else this is an error of SSL.
        raw.socket.suppress_ragged_eofs = False
        assert raw.rest() == b""


@pytest.mark.parametrize(
    "sent,code",
    [
        (frame(2, b"x"), 1003),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, claimed=100_000_000), 1009),
        (frame(TEXT, b"{}", mask=False), 1002),
    ],
    ids=["binary", "not utf-8", "too large", "unmasked"],
)
def test_close_codes_over_tls(node, first, session, sent, code):
    """The reason of a close is lost behind the encryption."""
    with RawSocket(node, door(session, "ann"), wire={"tls": first.context}) as raw:
        raw.recv_json()
        raw.send(sent)
        assert raw.closing() == code


def test_refusals_over_tls(node, first, session):
    """Who is not let in over TLS is not told why."""
    answer = turned_away(node, door(session), wire={"tls": first.context})
    assert_problem(answer, 400, "bad_field", "user_id")
    with RawSocket(node, door(session), wire={"tls": first.context}, Origin=LISTED) as raw:
        assert raw.answer.status == 101 and raw.closing() == 4400


def test_what_came_right_behind_the_handshake_is_not_lost(node, first, session):
    """A client that does not wait for the answer loses its first frames to the encryption's buffer."""
    early = b"".join(frame(TEXT, b'{"type":"ping","id":"p%d"}' % n) for n in range(3))
    with RawSocket(node, door(session, "ann"), early=early, wire={"tls": first.context}) as raw:
        assert raw.recv_json()["type"] == "session_state"
        assert [raw.recv_json()["id"] for _ in range(3)] == ["p0", "p1", "p2"]


def test_answers_over_tls_say_so(node, first):
    """A browser that has once come by TLS can be brought back to plain text."""
    for path in ("/livez", "/pairing.html", "/nowhere"):
        answer = get(node, path, first.context)
        seconds = int(answer.headers["strict-transport-security"].removeprefix("max-age=").split(";")[0])
        assert seconds >= 180 * 86_400
        assert answer.headers["x-content-type-options"] == "nosniff"
    with Wire(node, tls=first.context) as wire:
        assert wire.socket.version() in ("TLSv1.2", "TLSv1.3")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("most", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["1.0", "1.1"])
def test_old_versions_are_not_spoken(node, most):
    """A connection can be brought down to a broken version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = most
    # It is the node that says so, not this client.
    with pytest.raises(ssl.SSLError, match="ALERT"):
        Wire(node, tls=context)


def test_plain_text_and_garbage_on_a_tls_port(node, pair):
    """Somebody without TLS is served in plain text, hangs, or harms the others."""
    for sent in (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(256)) * 8, b"\x16\x03\x01\xff\xff" + b"x" * 9):
        began = time.monotonic()
        with Wire(node, before=sent) as wire:
            rest = wire.rest()
            assert b"HTTP" not in rest and len(rest) < 16, rest
        assert time.monotonic() - began < 10
    assert heard(pair[0], *pair) == [[], []]


def test_a_handshake_that_stalls_is_cut(node, pair, first):
    """Connections that never finish their handshake pile up, or keep others out."""
    hello = first_flight(first.context)

    def stall(sent):
        with Wire(node, before=sent) as wire:
            began = time.monotonic()
            wire.rest()
            return time.monotonic() - began

    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(stall, sent) for sent in (b"", hello[:1], hello[:50], hello) for _ in range(15)]
        silent = pool.submit(lambda: silence(node, first))
        assert get(node, "/livez", first.context).status == 200
        assert heard(pair[0], *pair) == [[], []]
        took = [one.result() for one in waiting]
        silent = silent.result()
    assert 0.8 < min(took) and max(took) < 10, took
    # Nor does one who is done with TLS and says nothing then.
    assert 0.8 < silent < 10


def first_flight(context):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    try:
        half.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()


def silence(node, certificate):
    with Wire(node, tls=certificate.context) as wire:
        began = time.monotonic()
        wire.rest()
        return time.monotonic() - began


# New certificates


@pytest.fixture
def changing(children, tmp_path, first, request):
    """A node with TLS whose certificate the test replaces, and its files."""
    files = Files(tmp_path, first)
    return start(children, unique("changing"), files, **request.param), files


AT_ONCE, ON_SIGNAL = {"TLS_LOOK_INTERVAL": 0.2}, {"TLS_LOOK_INTERVAL": 3600}


@pytest.mark.parametrize("changing", [AT_ONCE, ON_SIGNAL], indirect=True, ids=["by itself", "on SIGHUP"])
def test_a_new_certificate_is_for_new_connections(changing, first, second, session, join):
    """A renewed certificate needs a restart, or costs everybody their socket."""
    node, files = changing
    both = trusting(first, second)
    ann = join(node, session, "ann", tls=both)
    assert shown(node) == 1
    files.put(second.pem, second.key)
    if "3600" in node.environment["TLS_LOOK_INTERVAL"]:
        assert shown(node) == 1, "nobody asked yet"
        node.signal(signal.SIGHUP)
    eventually(lambda: shown(node) == 2, "the new certificate is shown")
    bob = join(node, session, "bob", tls=second.context)
    ann.hears(shapes.joined("bob"))
    assert heard(ann, ann, bob) == [[], []]
    assert '"new certificate"' in node.log()
    with pytest.raises(ssl.SSLError):
        Wire(node, tls=first.context)


@pytest.mark.parametrize("changing", [ON_SIGNAL], indirect=True, ids=[""])
def test_a_bad_certificate_is_not_taken(changing, first, second, session, join):
    """A failed renewal takes the node off the net."""
    node, files = changing
    ann = join(node, session, "ann", tls=first.context)
    wrong = {
        "a key of another": (second.pem, first.key),
        "garbage": (b"garbage", b"garbage"),
        "an empty file": (b"", first.key),
        "half a file": (second.pem[:100], second.key),
        "no key": (second.pem, second.pem),
        "no file": None,
    }
    for name, content in wrong.items():
        complaints = node.log().count("the certificate in use stays")
        if content:
            files.put(*content)
        else:
            files.certificate.unlink()
        node.signal(signal.SIGHUP)
        said = lambda: node.log().count("the certificate in use stays") > complaints
        eventually(said, f"it is said that there is {name}")
        assert shown(node) == 1, name
    assert "PRIVATE KEY" not in node.log()
    assert heard(ann, ann) == [[]]
    # And afterwards a good one is.
    files.put(second.pem, second.key)
    node.signal(signal.SIGHUP)
    eventually(lambda: shown(node) == 2, "the good certificate is shown")
    assert heard(ann, ann) == [[]]
    assert node.alive


def test_a_hangup_ends_no_node_without_tls(by_origin, session, join):
    """`kill -HUP`, or a terminal that closes, ends a node that has nothing to reload."""
    node = by_origin["open"]
    ann = join(node, session, "ann")
    node.signal(signal.SIGHUP)
    eventually(lambda: "no certificate to read again" in node.log(), "it is said that there is nothing to reload")
    assert heard(ann, ann) == [[]]
    assert node.alive


def test_wrong_files_are_told_before_the_start(children, tmp_path, first, second):
    """A node starts without the encryption it was told to speak, or says nothing of why it does not start."""
    files = Files(tmp_path, first)
    bad, missing = tmp_path / "bad.pem", tmp_path / "missing.pem"
    bad.write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    other = tmp_path / "other.pem"
    other.write_bytes(second.key)
    node = children.adopt(Node("checked"))
    right = node.run("check-config", **files.settings)
    assert right.returncode == 0, right
    for settings, named in [
        ({"TLS_CERT": missing}, "missing.pem"),
        ({"TLS_KEY": missing}, "missing.pem"),
        ({"TLS_CERT": bad}, "TLS_CERT"),
        ({"TLS_KEY": bad}, "TLS_KEY"),
        ({"TLS_KEY": other}, "TLS_KEY"),
        ({"TLS_CERT": files.key}, "TLS_CERT"),
        ({"TLS_CERT": ""}, "TLS_CERT"),
        ({"TLS_KEY": ""}, "TLS_KEY"),
        ({"TLS_CERT": tmp_path}, "TLS_CERT"),
    ]:
        for command in ("check-config", "serve"):
            said = node.run(command, **files.settings | settings)
            assert said.returncode == 78, (settings, said)
            assert named in said.stderr and "right is" in said.stderr, said.stderr
            assert "PRIVATE" not in said.stderr and first.key.decode()[30:60] not in said.stderr


# With the PROXY protocol

LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"


def of(address):
    ends = socket.inet_aton(address) + socket.inet_aton("192.0.2.200") + bytes(4)
    return LOCAL[:12] + b"\x21\x11\x00\x0c" + ends


@pytest.mark.alone
def test_tls_behind_a_proxy_that_names_its_clients(children, tmp_path, first, session):
    """The header stands before the encryption, and is read as a part of it."""
    node = start(
        children,
        "tls-behind",
        Files(tmp_path, first),
        PROXY_PROTOCOL="true",
        TRUSTED_PROXIES="127.0.0.1",
        HANDSHAKE_TIMEOUT=5,
        HANDSHAKE_RATE=1,
        HANDSHAKE_BURST=2,
    )
    wire = {"before": of("192.0.2.7"), "tls": first.context}
    with RawSocket(node, door(session, "ann"), wire=wire) as ann:
        assert ann.recv_json()["type"] == "session_state"
        assert turned_away(node, door(session), wire=wire).status == 400
        assert '"client":"192.0.2.7"' in node.log()
        assert turned_away(node, door(session, "bob"), wire=wire).status == 429
        assert turned_away(node, door(session, "bob"), wire=wire | {"before": LOCAL}).status == 101
        # Without the header there is no connection, however well encrypted.
        with pytest.raises((ssl.SSLError, ConnectionError)):
            Wire(node, tls=first.context)
        # A header inside the encryption is a strange request.
        with Wire(node, **wire) as inside:
            inside.send(of("192.0.2.9") + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert inside.head().status == 400
        ann.send_json("ping", id="here")
        while (said := ann.recv_json())["type"] != "pong":
            assert said["type"] in ("user_joined", "user_left"), said


@pytest.mark.parametrize("proxied", [False, True], ids=["TLS", "TLS and PROXY"])
def test_the_healthcheck_asks_as_the_node_wants_to_be_asked(children, tmp_path, first, proxied):
    """A container with TLS is called sick and started anew for ever."""
    settings = {"PROXY_PROTOCOL": "true", "TRUSTED_PROXIES": "127.0.0.1"} if proxied else {}
    node = start(children, "checked", Files(tmp_path, first), **settings)
    eventually(lambda: node.run("healthcheck").returncode == 0, "the node is healthy", every=0.2)
    node.kill()
    assert node.run("healthcheck").returncode == 1
