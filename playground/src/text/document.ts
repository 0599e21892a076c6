// The session's text: a Yjs document, its connection to the node's Yjs door, and how both are doing. Begins again with
// an empty document when the node has made the session's anew; whoever shows the text is told then, and shows the new
// one.

import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import { ObservableV2 } from "lib0/observable";
import { Awareness } from "y-protocols/awareness";
import { messageYjsSyncStep1, writeUpdate } from "y-protocols/sync";
import { WebsocketProvider, messageAuth, messageSync } from "y-websocket";
import * as Y from "yjs";
import { judge, type Closing } from "../closing";
import { Ledger } from "./ledger";

/** The one shared type of a session's document. */
const TYPE = "code";
/** After which what is still not saved is sent once more. */
const STUCK_MS = 5_000;

export type Light =
  | { state: "connecting" | "saved" }
  | { state: "saving" | "offline"; unsaved: number }
  | { state: "refused"; closing: Closing };

export interface Present {
  name: string;
  color: string;
  colorLight: string;
  /** The user id, by which other sockets of the same user are known. */
  id: string;
}

/** The node made the document anew; or what was written was dropped, because one may not write. */
export type Anew = "reset" | "dropped";

interface Told {
  light: (light: Light) => void;
  /** There is another document now. `lost` is what the old one held, if some of that was never saved. */
  anew: (why: Anew, lost: string | null) => void;
  /** The node did not take something, and says why. */
  denied: (sentence: string) => void;
}

export class SharedDocument extends ObservableV2<Told> {
  doc!: Y.Doc;
  text!: Y.Text;
  awareness!: Awareness;
  undo!: Y.UndoManager;
  private ledger!: Ledger;
  private provider!: WebsocketProvider;
  private refused: Closing | null = null;
  /** Whether the connection was ever there or failed once: before that it is only being made. */
  private tried = false;
  /** Whether this document was ever the node's: before that nobody knows what one would write into. */
  begun = false;
  private returning: ReturnType<typeof setTimeout> | undefined;
  /** When an edit was last made or saved. */
  private stirred = 0;

  constructor(
    private readonly door: string,
    private readonly session: string,
    private present: Present,
    private parameters: Record<string, string>,
  ) {
    super();
    this.begin();
    setInterval(() => this.watch(), STUCK_MS);
  }

  get light(): Light {
    if (this.refused !== null) return { state: "refused", closing: this.refused };
    const unsaved = this.ledger.unsaved;
    if (!this.provider.wsconnected) return this.tried ? { state: "offline", unsaved } : { state: "connecting" };
    if (!this.provider.synced) return { state: "connecting" };
    return unsaved > 0 ? { state: "saving", unsaved } : { state: "saved" };
  }

  get unsaved(): number {
    return this.ledger.unsaved;
  }

  get synced(): boolean {
    return this.provider.synced;
  }

  /** Says who is here; with `parameters` the next connection is made as that one. */
  introduce(present: Present, parameters?: Record<string, string>): void {
    this.present = present;
    if (parameters !== undefined) {
      this.parameters = parameters;
      this.provider.params = parameters;
    }
    this.awareness.setLocalStateField("user", present);
  }

  /** Throws away what was not saved: the node will not take it. */
  drop(): void {
    this.restart("dropped");
  }

  private begin(): void {
    this.doc = new Y.Doc();
    this.text = this.doc.getText(TYPE);
    // The editor's own edits alone, which it adds itself.
    this.undo = new Y.UndoManager(this.text, { trackedOrigins: new Set() });
    this.awareness = new Awareness(this.doc);
    this.awareness.setLocalStateField("user", this.present);
    this.ledger = new Ledger(this.doc.clientID);
    this.refused = null;
    this.begun = false;
    this.provider = new WebsocketProvider(this.door, encodeURIComponent(this.session), this.doc, {
      awareness: this.awareness,
      params: this.parameters,
      // Tabs of one browser meet at the node, like everybody else.
      disableBc: true,
      shouldReconnect: (event) => this.comesBack(event),
    });
    this.listen(this.provider);
    this.doc.on("update", (update: Uint8Array, origin: unknown) => {
      if (origin === this.provider) return;
      this.ledger.note(update);
      this.stirred = Date.now();
      this.shine();
    });
  }

  private end(): void {
    clearTimeout(this.returning);
    this.provider.destroy();
    this.undo.destroy();
    this.awareness.destroy();
    this.doc.destroy();
  }

  private restart(why: Anew): void {
    const lost = this.ledger.unsaved > 0 ? this.text.toString() : null;
    this.end();
    this.begin();
    this.emit("anew", [why, lost]);
    this.shine();
  }

  private listen(provider: WebsocketProvider): void {
    const sync = provider.messageHandlers[messageSync]!;
    provider.messageHandlers[messageSync] = (encoder, decoder, ...rest) => {
      this.read(decoding.clone(decoder));
      sync(encoder, decoder, ...rest);
      this.shine();
    };
    // Not the library's own: that writes the address, with the token, into the browser's log.
    provider.messageHandlers[messageAuth] = (_encoder, decoder) => {
      decoding.readVarUint(decoder);
      this.emit("denied", [decoding.readVarString(decoder)]);
    };
    provider.on("status", ({ status }) => {
      if (status !== "connecting") this.tried = true;
      this.shine();
    });
    provider.on("connection-close", () => {
      this.tried = true;
      this.shine();
    });
    provider.on("sync", (synced) => {
      this.begun ||= synced;
      this.shine();
    });
    provider.on("closed", ({ code, reason }) => this.closed(judge(code, reason)));
  }

  /** Looks at a message of the node for what it says of our own edits. */
  private read(decoder: decoding.Decoder): void {
    const kind = decoding.readVarUint(decoder);
    const payload = decoding.readVarUint8Array(decoder);
    const unsaved = this.ledger.unsaved;
    if (kind === messageYjsSyncStep1) this.ledger.compare(payload);
    else this.ledger.confirm(payload);
    if (this.ledger.unsaved < unsaved) this.stirred = Date.now();
  }

  /** A frame that the node dropped, for being one too many, is not asked for: it is sent again. */
  private watch(): void {
    const { ws, synced } = this.provider;
    if (ws === null || !synced || this.ledger.unsaved === 0 || Date.now() - this.stirred < STUCK_MS) return;
    const known = Y.decodeStateVector(Y.encodeStateVector(this.doc)).set(this.doc.clientID, this.ledger.clock);
    const encoder = encoding.createEncoder();
    encoding.writeVarUint(encoder, messageSync);
    writeUpdate(encoder, Y.encodeStateAsUpdate(this.doc, Y.encodeStateVector(known)));
    ws.send(encoding.toUint8Array(encoder));
  }

  /** Whether the library comes back by itself, in its own time. */
  private comesBack(event: CloseEvent): boolean {
    const closing = judge(event.code, event.reason);
    return closing.verdict === "again" && closing.after === undefined;
  }

  private closed(closing: Closing): void {
    if (closing.verdict === "anew") return this.restart("reset");
    if (closing.verdict === "again") {
      this.returning = setTimeout(() => this.provider.connect(), closing.after);
      return;
    }
    this.refused = closing;
    this.shine();
  }

  private shine(): void {
    this.emit("light", [this.light]);
  }
}
