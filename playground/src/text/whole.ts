// A client that knows nothing but whole texts, and loses no edit all the same: it says which version it began from, has
// one change on its way at a time, and puts what comes in meanwhile and what was typed meanwhile together. Knows no
// socket and no field; the pane gives it both.

import { merged } from "./merge";

interface Version {
  text: string;
  version: number;
}

interface Change {
  id: string;
  code: string;
  base_version: number;
}

interface World {
  /** Sends a change; the same one again, with its id, after a connection was lost. */
  send: (change: Change) => void;
  show: (text: string) => void;
  /** The node is about to tell the text; if it does not, it is to be asked. */
  owed: () => void;
}

/** Not taken: for now; because its version is too old, then the current text follows; or for good. */
export type Refusal = "for now" | "too old" | "for good";

export class WholeText {
  private base: Version = { text: "", version: 0 };
  private shown = "";
  private sent: Change | null = null;
  /** The newest that came while a change was on its way. */
  private newest: Version | null = null;
  /** The version in which our change is, with others' before it, and whose text is still to come. */
  private owed: number | null = null;
  /** What is shown is based on a text that the node has no more. */
  private lost = false;
  private numbers = 0;
  private here = false;

  constructor(
    private readonly name: string,
    private readonly world: World,
  ) {}

  get owes(): boolean {
    return this.owed !== null || this.lost;
  }

  /** The first word of a connection. */
  greeted(text: string, version: number): void {
    this.here = true;
    if (this.sent === null) {
      this.follow({ text, version });
    } else {
      // Whether it was stored nobody knows: the same id again is stored once, or was.
      this.newest = { text, version };
      this.world.send(this.sent);
    }
  }

  left(): void {
    this.here = false;
  }

  typed(text: string): void {
    this.shown = text;
    this.flush();
  }

  /** Our change is in that version. */
  taken(id: string, version: number): void {
    if (this.sent?.id !== id) return;
    if (this.newest !== null && this.newest.version >= version) return this.settle(this.newest);
    if (version === this.base.version + 1) return this.settle({ text: this.sent.code, version });
    this.owed = version;
    this.world.owed();
  }

  /** Somebody's text, or ours with theirs. */
  told(text: string, version: number): void {
    if (version < this.base.version) return;
    if (this.sent === null) return this.follow({ text, version });
    if (this.newest === null || version >= this.newest.version) this.newest = { text, version };
    if (this.owed !== null && version >= this.owed) this.settle(this.newest);
  }

  refused(id: string, refusal: Refusal): void {
    if (this.sent?.id !== id) return;
    if (refusal === "for now") return this.world.send(this.sent);
    const newest = this.newest ?? this.base;
    this.sent = null;
    this.newest = null;
    if (refusal === "too old") {
      // What was typed waits for the text that it will be put on top of.
      this.lost = true;
      return this.world.owed();
    }
    this.base = newest;
    this.shown = newest.text;
    this.world.show(this.shown);
  }

  private settle(to: Version): void {
    const since = this.sent!.code;
    this.sent = null;
    this.newest = null;
    this.owed = null;
    this.place(since, to);
  }

  private follow(to: Version): void {
    this.place(this.base.text, to);
  }

  /** What was typed since `since` stays, on top of the new text. */
  private place(since: string, to: Version): void {
    const next = merged(since, this.shown, to.text);
    this.base = to;
    this.lost = false;
    if (next !== this.shown) {
      this.shown = next;
      this.world.show(next);
    }
    this.flush();
  }

  private flush(): void {
    if (!this.here || this.lost || this.sent !== null || this.shown === this.base.text) return;
    this.numbers += 1;
    this.sent = { id: `${this.name}-${this.numbers}`, code: this.shown, base_version: this.base.version };
    this.world.send(this.sent);
  }
}
