"use strict";

const TYPING_PAUSE_MS = 150;
const CURSOR_PAUSE_MS = 100;
const LOG_LINES = 500;
const SHOWN_CHARACTERS = 4000;

const at = (id) => document.getElementById(id);
const editor = at("code");
let socket = null;
let people = new Map();
let commands = 0;

// The form

const asked = new URLSearchParams(location.search);
at("session").value = asked.get("session") ?? "";
at("user").value = asked.get("user") ?? asked.get("user_id") ?? "";
at("name").value = asked.get("name") ?? asked.get("username") ?? "";

at("who").addEventListener("submit", (event) => {
  event.preventDefault();
  connect();
});
at("disconnect").addEventListener("click", () => socket?.close(1000));
at("clear").addEventListener("click", () => at("log").replaceChildren());
at("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const message = at("chat").value;
  if (message && send({ type: "chat", message })) at("chat").value = "";
});
at("speak").addEventListener("submit", (event) => {
  event.preventDefault();
  at("language").blur();
});
at("language").addEventListener("change", () => send({ type: "language", language: at("language").value }));

// The connection

function connect() {
  socket?.close(1000);
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const query = new URLSearchParams({ user_id: at("user").value });
  if (at("name").value) query.set("username", at("name").value);
  const id = encodeURIComponent(at("session").value);
  // Behind a subprotocol, because a page can set no headers and a query may end up in a log.
  const protocols = at("token").value ? ["bearer", at("token").value] : [];
  const opened = new WebSocket(`${scheme}//${location.host}/api/v1/ws/session/${id}?${query}`, protocols);
  socket = opened;
  showState("connecting…");
  opened.onmessage = (event) => {
    if (opened !== socket) return;
    log("in", event.data);
    receive(JSON.parse(event.data));
  };
  opened.onclose = (event) => {
    log("in", `closed ${event.code} ${event.reason}`.trim());
    if (opened !== socket) return;
    socket = null;
    text.forget();
    people.clear();
    showPeople();
    enable(false);
    const lost = event.code !== 1000 && event.code !== 1005;
    showState(lost ? `closed: ${event.code}${meaning(event.code)}` : "not connected", lost && "failed");
  };
}

function meaning(code) {
  const meanings = {
    1001: "the node goes away; connect again",
    1006: "the node cannot be reached",
    1008: "this page's origin is not admitted",
    1009: "the frame was too large",
    1012: "the node restarts; connect again",
    1013: "the node has no room now; try again",
    4400: "an id or a frame is malformed",
    4404: "there is no such session",
    4408: "the connection went silent",
    4410: "the session has ended",
    4503: "this page reads too slowly",
  };
  return meanings[code] ? ` (${meanings[code]})` : "";
}

function send(frame) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  const written = JSON.stringify(frame);
  socket.send(written);
  log("out", written);
  return true;
}

function receive(frame) {
  switch (frame.type) {
    case "session_state":
      people = new Map(frame.users.map((user) => [user.user_id, user]));
      showPeople();
      at("language").value = frame.language;
      at("lines").replaceChildren();
      frame.chat.forEach(showLine);
      text.start(frame.code, frame.version);
      enable(true);
      showState("connected", "open");
      break;
    case "user_joined":
      people.set(frame.user_id, { ...frame, cursor: null });
      showPeople();
      break;
    case "user_left":
      people.delete(frame.user_id);
      showPeople();
      break;
    case "cursor_move":
      if (people.has(frame.user_id)) people.get(frame.user_id).cursor = frame.cursor;
      showPeople();
      break;
    case "code_update":
      text.hear(frame.code, frame.version);
      break;
    case "code_ack":
      text.taken(frame.id, frame.version);
      break;
    case "language_change":
      at("language").value = frame.language;
      break;
    case "chat_message":
      showLine(frame);
      break;
    case "error":
      text.refused(frame);
      break;
  }
}

// The text. A change names the version it was made from. While one is under way, nothing newer is shown. What came of
// it and of others' changes comes as a text of the version that was acknowledged.

const text = {
  base: "",
  version: 0,
  pending: null,
  held: null,
  timer: 0,

  start(code, version) {
    const unsent = socket === this.socket;
    this.socket = socket;
    this.pending = this.held = null;
    this.show(unsent ? merge(this.base, editor.value, code) : code);
    this.accept(code, version);
    this.later(0);
  },

  forget() {
    clearTimeout(this.timer);
    this.socket = this.pending = this.held = null;
  },

  later(wait) {
    clearTimeout(this.timer);
    editor.setAttribute("aria-busy", String(this.pending !== null || editor.value !== this.base));
    this.timer = setTimeout(() => this.write(), wait);
  },

  write() {
    if (this.pending || editor.value === this.base) return;
    const id = `text-${++commands}`;
    const code = editor.value;
    if (send({ type: "code_change", code, base_version: this.version, id })) this.pending = { id, code };
  },

  hear(code, version) {
    if (this.pending) {
      if (!this.held || version >= this.held.version) this.held = { code, version };
    } else if (version >= this.version) {
      this.show(merge(this.base, editor.value, code));
      this.accept(code, version);
      this.later(0);
    }
  },

  taken(id, version) {
    if (this.pending?.id !== id) return;
    this.accept(this.pending.code, version);
    this.resume(0);
  },

  refused({ id, code, retry_in_ms }) {
    if (!this.pending || this.pending.id !== id) return;
    // What is wrong in itself is not sent again before it was changed.
    if (code === "bad_field") this.pending = null;
    else this.resume(retry_in_ms ?? TYPING_PAUSE_MS);
  },

  resume(wait) {
    const held = this.held;
    this.pending = this.held = null;
    if (held) this.hear(held.code, held.version);
    this.later(wait);
  },

  accept(code, version) {
    this.base = code;
    this.version = version;
    at("version").textContent = `version ${version}`;
  },

  show(code) {
    if (editor.value === code) return;
    const edit = difference(editor.value, code);
    const move = (place) => {
      if (place <= edit.start) return place;
      return place >= edit.end ? place + edit.text.length - (edit.end - edit.start) : edit.start + edit.text.length;
    };
    const { selectionStart, selectionEnd, scrollTop } = editor;
    editor.value = code;
    editor.setSelectionRange(move(selectionStart), move(selectionEnd));
    editor.scrollTop = scrollTop;
  },
};

editor.addEventListener("input", () => text.later(TYPING_PAUSE_MS));

/** The one replacement that makes `after` of `before`: characters `start` to `end` become `text`. */
function difference(before, after) {
  const most = Math.min(before.length, after.length);
  let start = 0;
  while (start < most && before[start] === after[start]) start++;
  let tail = 0;
  while (tail < most - start && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  return { start, end: before.length - tail, text: after.slice(start, after.length - tail) };
}

/** Puts what `mine` changed in `base` into `theirs`, which was made of the same `base`. */
function merge(base, mine, theirs) {
  if (mine === base) return theirs;
  const edit = difference(base, mine);
  const other = difference(base, theirs);
  const shift = other.text.length - (other.end - other.start);
  let { start, end } = edit;
  if (start >= other.end) {
    start += shift;
    end += shift;
  } else if (end > other.start) {
    // Both changed the same place: theirs stays, mine follows it.
    start = other.start + other.text.length;
    end = Math.max(start, end + shift);
  }
  return theirs.slice(0, start) + edit.text + theirs.slice(end);
}

// The cursor

let cursorTimer = 0;
let cursorSent = "";

document.addEventListener("selectionchange", () => {
  if (document.activeElement === editor && !cursorTimer) cursorTimer = setTimeout(sendCursor, CURSOR_PAUSE_MS);
});

function sendCursor() {
  cursorTimer = 0;
  const before = editor.value.slice(0, editor.selectionEnd);
  const line = before.lastIndexOf("\n") + 1;
  const cursor = { lineNumber: before.split("\n").length, column: before.length - line + 1 };
  const written = JSON.stringify(cursor);
  if (written !== cursorSent && send({ type: "cursor", cursor })) {
    cursorSent = written;
    const me = people.get(at("user").value);
    if (me) me.cursor = cursor;
    showPeople();
  }
}

// What is shown. Everything that came over the wire is set as text, never as markup.

function element(name, content, className = "") {
  const made = document.createElement(name);
  made.textContent = content;
  made.className = className;
  return made;
}

function append(list, item, most) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(item);
  while (list.childElementCount > most) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function showState(words, className = "") {
  at("state").textContent = words;
  at("state").className = className || "";
}

function enable(connected) {
  for (const id of ["code", "language", "chat", "send", "disconnect"]) at(id).disabled = !connected;
  for (const id of ["session", "user", "name", "connect"]) at(id).disabled = connected;
}

function showPeople() {
  const rows = [...people.values()].map((user) => {
    const row = element("li", "");
    const me = user.user_id === at("user").value ? " (you)" : "";
    row.append(element("span", user.username + me));
    const { cursor } = user;
    row.append(element("span", cursor ? `${cursor.lineNumber}:${cursor.column}` : "–", "place"));
    row.title = user.user_id;
    return row;
  });
  at("people").replaceChildren(...rows);
}

function showLine(line) {
  const row = element("li", "");
  row.append(element("strong", line.username), element("span", `: ${line.text}`));
  append(at("lines"), row, 100);
}

function log(direction, frame) {
  const row = element("li", "", direction);
  const now = new Date();
  const time = element("time", `${now.toLocaleTimeString("en-GB")}.${String(now.getMilliseconds()).padStart(3, "0")}`);
  const rest = frame.length - SHOWN_CHARACTERS;
  const shown = rest > 0 ? `${frame.slice(0, SHOWN_CHARACTERS)}… and ${rest} characters` : frame;
  row.append(time, " ", element("b", direction === "in" ? "←" : "→"), ` ${shown}`);
  append(at("log"), row, LOG_LINES);
}
