// One text and several who edit it, without a document between them: what changed from one text to the next, how a
// change looks after somebody else's, and where a caret is then. Places are counted in UTF-16, as textareas and the
// node do.

export interface Edit {
  from: number;
  /** Behind the last character that goes. */
  to: number;
  insert: string;
}

/** The one stretch that differs; never half a character. */
export function difference(before: string, after: string): Edit {
  const shortest = Math.min(before.length, after.length);
  let head = 0;
  while (head < shortest && before.charCodeAt(head) === after.charCodeAt(head)) head += 1;
  if (splits(before, head) || splits(after, head)) head -= 1;
  let tail = 0;
  while (
    tail < shortest - head &&
    before.charCodeAt(before.length - 1 - tail) === after.charCodeAt(after.length - 1 - tail)
  )
    tail += 1;
  if (splits(before, before.length - tail) || splits(after, after.length - tail)) tail -= 1;
  return { from: head, to: before.length - tail, insert: after.slice(head, after.length - tail) };
}

/** Both changes of the same text: what either takes out is gone, what either puts in is there. */
export function merged(text: string, own: string, other: string): string {
  if (own === text) return other;
  if (other === text || other === own) return own;
  const edits = [difference(text, own), difference(text, other)] as [Edit, Edit];
  const [first, second] = edits[1].from < edits[0].from ? [edits[1], edits[0]] : edits;
  const between = first.to <= second.from ? text.slice(first.to, second.from) : "";
  return text.slice(0, first.from) + first.insert + between + second.insert + text.slice(Math.max(first.to, second.to));
}

/** Where a place in the old text is in the new one. */
export function moved(place: number, { from, to, insert }: Edit): number {
  if (place <= from) return place;
  if (place >= to) return place + insert.length - (to - from);
  return from + Math.min(place - from, insert.length);
}

/** As the node counts: lines and columns from 1, columns in UTF-16. */
export function lineAndColumn(text: string, place: number): { lineNumber: number; column: number } {
  const before = text.slice(0, place);
  return { lineNumber: before.split("\n").length, column: place - before.lastIndexOf("\n") };
}

function splits(text: string, place: number): boolean {
  const unit = text.charCodeAt(place - 1);
  const next = text.charCodeAt(place);
  return unit >= 0xd800 && unit < 0xdc00 && next >= 0xdc00 && next < 0xe000;
}
