// Which of one's own edits the node has not confirmed yet. The node sends every update back to its sender once it is
// stored; an edit is saved when all that it inserted and all that it deleted has come back, or when the node says, on
// connecting, that it has it. Knows Yjs updates, and no socket.

import * as Y from "yjs";

interface Span {
  client: number;
  clock: number;
  length: number;
}

interface Edit {
  /** The clock of our client right behind what the edit inserted. */
  end: number;
  /** What it deleted and the node has not confirmed. */
  deleted: Span[];
}

export class Ledger {
  private confirmed = 0;
  private edits: Edit[] = [];

  constructor(private readonly client: number) {}

  get unsaved(): number {
    return this.edits.length;
  }

  /** Up to which of our clocks the node has everything. */
  get clock(): number {
    return this.confirmed;
  }

  /** Of a local edit. */
  note(update: Uint8Array): void {
    const { structs, ds } = Y.decodeUpdate(update);
    const ends = structs.filter((each) => each.id.client === this.client).map((each) => each.id.clock + each.length);
    this.edits.push({ end: Math.max(0, ...ends), deleted: spans(ds) });
  }

  /** An update that the node has stored: one it sends on, or what it has and we lacked. */
  confirm(update: Uint8Array): void {
    const { structs, ds } = Y.decodeUpdate(update);
    for (const each of structs) {
      // What lies behind a hole is not all there.
      const whole = !(each instanceof Y.Skip) && each.id.client === this.client && each.id.clock <= this.confirmed;
      if (whole) this.confirmed = Math.max(this.confirmed, each.id.clock + each.length);
    }
    const gone = spans(ds);
    for (const edit of this.edits) edit.deleted = edit.deleted.flatMap((span) => without(span, gone));
    this.settle();
  }

  /** The node's state vector: how far it has us, which may be less than it once had. */
  compare(vector: Uint8Array): void {
    this.confirmed = Y.decodeStateVector(vector).get(this.client) ?? 0;
    this.settle();
  }

  private settle(): void {
    this.edits = this.edits.filter((edit) => edit.end > this.confirmed || edit.deleted.length > 0);
  }
}

function spans(ds: ReturnType<typeof Y.decodeUpdate>["ds"]): Span[] {
  return [...ds.clients].flatMap(([client, items]) => items.map(({ clock, len }) => ({ client, clock, length: len })));
}

/** What is left of a span when all of these are taken out of it. */
function without(span: Span, gone: Span[]): Span[] {
  let left = [span];
  for (const other of gone) {
    if (other.client !== span.client) continue;
    const end = other.clock + other.length;
    left = left.flatMap(({ client, clock, length }) => {
      const before = Math.min(clock + length, other.clock) - clock;
      const behind = clock + length - Math.max(clock, end);
      return [
        ...(before > 0 ? [{ client, clock, length: before }] : []),
        ...(behind > 0 ? [{ client, clock: clock + length - behind, length: behind }] : []),
      ];
    });
  }
  return left;
}
