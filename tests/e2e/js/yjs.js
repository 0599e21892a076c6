// Yjs as JavaScript has it, driven by lines of JSON: one object a command on standard input, one object an answer, in
// the same order, on standard output. Editors are documents with the official provider; what is called without an
// editor works on updates alone, to say what Yjs by itself makes of them. Bytes are base64, places UTF-16 units.

import { Console } from "node:console";
import { createInterface } from "node:readline";
import * as decoding from "lib0/decoding";
import { WebSocket } from "ws";
import { WebsocketProvider, messageAuth, messageSync } from "y-websocket";
import * as Y from "yjs";

const TYPE = "code";
const STEP_1 = 0;
const editors = new Map();
// Libraries say things, and answers have standard output for themselves.
globalThis.console = new Console(process.stderr);
// Every provider listens to the end of the process.
process.setMaxListeners(0);

const pack = (bytes) => Buffer.from(bytes).toString("base64");
const unpack = (text) => new Uint8Array(Buffer.from(text, "base64"));
const textOf = (doc) => doc.getText(TYPE).toString();

/** In one transaction, so in one update. Each place is one in the text as the changes before it left it. */
function change(doc, changes) {
  const text = doc.getText(TYPE);
  doc.transact(() => {
    for (const { at, remove = 0, insert = "" } of changes) {
      if (remove) text.delete(at, remove);
      if (insert) text.insert(at, insert);
    }
  });
}

function assemble(updates, client) {
  const doc = new Y.Doc();
  for (const update of updates) Y.applyUpdate(doc, unpack(update));
  // Not before: a document takes another id when it meets its own.
  if (client !== undefined) doc.clientID = client;
  return doc;
}

const describe = (doc) => ({
  text: textOf(doc),
  state: pack(Y.encodeStateAsUpdate(doc)),
  vector: pack(Y.encodeStateVector(doc)),
  pending: doc.store.pendingStructs !== null || doc.store.pendingDs !== null,
});

class Editor {
  constructor({ url, room, params, headers, client, backoff, connect }) {
    this.doc = new Y.Doc();
    if (client !== undefined) this.doc.clientID = client;
    this.opened = 0;
    this.heard = [];
    this.closes = [];
    this.errors = [];
    this.denied = [];
    this.closed = null;
    // How many of its own clocks the node has said it keeps.
    this.saved = 0;
    const editor = this;
    const Tapped = class extends WebSocket {
      constructor(address, protocols) {
        super(address, protocols, { headers });
        this.on("open", () => (editor.opened += 1));
        this.on("message", (data) => editor.hear(new Uint8Array(data)));
      }
    };
    // Documents of one process would meet without the node otherwise.
    const options = { params, connect, disableBc: true, maxBackoffTime: backoff, WebSocketPolyfill: Tapped };
    this.provider = new WebsocketProvider(url, room, this.doc, options);
    this.provider.messageHandlers[messageAuth] = (_encoder, decoder) => {
      decoding.readVarUint(decoder);
      this.denied.push(decoding.readVarString(decoder));
    };
    this.provider.on("connection-close", (event) => this.closes.push(event?.code ?? null));
    this.provider.on("connection-error", (event) => this.errors.push(event.message));
    this.provider.on("closed", (end) => (this.closed = end));
  }

  /** Beside what the provider makes of it. */
  hear(frame) {
    const decoder = decoding.createDecoder(frame);
    const kind = [decoding.readVarUint(decoder)];
    if (kind[0] === messageSync) {
      kind.push(decoding.readVarUint(decoder));
      const body = decoding.readVarUint8Array(decoder);
      const known = kind[1] === STEP_1 ? Y.decodeStateVector(body) : Y.parseUpdateMeta(body).to;
      this.saved = Math.max(this.saved, known.get(this.doc.clientID) ?? 0);
    }
    this.heard.push(kind.join(" "));
  }

  look() {
    const { wsconnected: connected, synced } = this.provider;
    const { opened, closes, errors, denied, closed, saved } = this;
    return { connected, synced, opened, closes, errors, denied, closed, saved, clock: this.clock() };
  }

  clock = () => Y.getState(this.doc.store, this.doc.clientID);
  client = () => this.doc.clientID;
  text = () => textOf(this.doc);
  describe = () => describe(this.doc);
  kinds = () => this.heard;

  change({ changes }) {
    change(this.doc, changes);
    return this.clock();
  }

  append = ({ text }) => this.change({ changes: [{ at: this.text().length, insert: text }] });

  /** Somewhere: `where` says how far down the text. A pair of surrogates stays whole, as in every editor. */
  scribble({ where, remove, insert }) {
    const text = this.text();
    const whole = (at) => (/^[\uDC00-\uDFFF]/.test(text.slice(at, at + 1)) ? at + 1 : at);
    const at = whole(Math.floor(where * text.length));
    const end = whole(Math.min(text.length, at + remove));
    change(this.doc, [{ at, remove: end - at, insert }]);
    return { removed: text.slice(at, end), clock: this.clock() };
  }

  /** What everybody is known to show, itself included, by client ids. */
  awareness() {
    const { states, meta } = this.provider.awareness;
    return [...states].map(([client, state]) => ({ client, clock: meta.get(client).clock, state }));
  }

  show({ fields }) {
    for (const [field, value] of Object.entries(fields)) this.provider.awareness.setLocalStateField(field, value);
  }

  /** As `y-codemirror.next` says it under `cursor`, and `y-monaco` under `selection`. */
  point({ anchor, head, field }) {
    const place = (index) => Y.createRelativePositionFromTypeIndex(this.doc.getText(TYPE), index);
    this.show({ fields: { [field]: { anchor: place(anchor), head: place(head) } } });
  }

  /** Where others point to, in the text that this editor has. */
  cursors() {
    const index = (place) => {
      const position = Y.createRelativePositionFromJSON(place);
      return Y.createAbsolutePositionFromRelativePosition(position, this.doc)?.index ?? null;
    };
    const places = (place) => place && { anchor: index(place.anchor), head: index(place.head) };
    return this.awareness()
      .filter(({ client }) => client !== this.doc.clientID)
      .map(({ client, state }) => ({ client, user: state.user ?? null, at: places(state.cursor ?? state.selection) ?? null }));
  }

  /** To another node, from the next connection on. */
  move({ url }) {
    this.provider.serverUrl = url;
  }

  params = ({ params }) => void (this.provider.params = params);
  connect = () => void this.provider.connect();
  disconnect = () => void this.provider.disconnect();
  /** Its network goes without a word, and it tries to come back. */
  drop = () => void this.provider.ws?.terminate();

  end() {
    this.provider.destroy();
    this.doc.destroy();
  }
}

const alone = {
  open({ of, ...options }) {
    editors.set(of, new Editor(options));
    return editors.get(of).client();
  },
  end({ of }) {
    editors.get(of).end();
    editors.delete(of);
  },
  read: ({ updates }) => describe(assemble(updates)),
  merge: ({ updates }) => pack(Y.mergeUpdates(updates.map(unpack))),
  /** What a client writes who has exactly these updates: its own update, and all that there is then. */
  write({ base, client, changes }) {
    const doc = assemble(base, client);
    const before = Y.encodeStateVector(doc);
    change(doc, changes);
    return { update: pack(Y.encodeStateAsUpdate(doc, before)), ...describe(doc) };
  },
  /** One update for each change, as they are typed. */
  type({ base, client, changes }) {
    const doc = assemble(base, client);
    const written = [];
    doc.on("update", (update) => written.push(pack(update)));
    for (const one of changes) change(doc, [one]);
    return written;
  },
  /** Which clocks of whom an update brings, and what it deletes: `[client, from, to]`. */
  outline({ update }) {
    const { from, to } = Y.parseUpdateMeta(unpack(update));
    const deletes = [...Y.decodeUpdate(unpack(update)).ds.clients];
    return {
      adds: [...to].map(([client, end]) => [client, from.get(client), end]),
      deletes: deletes.flatMap(([client, runs]) => runs.map(({ clock, len }) => [client, clock, clock + len])),
    };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: what, ...command } = JSON.parse(line);
  let answer;
  try {
    const value = what in alone ? alone[what](command) : editors.get(command.of)[what](command);
    answer = { value: value ?? null };
  } catch (error) {
    answer = { error: error.stack };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit();
