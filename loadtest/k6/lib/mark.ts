// What is said, so that whoever hears it knows who said it, when, as which of theirs, and at which node.

export interface Mark {
  speaker: string;
  /** The speaker's first is 1. */
  count: number;
  /** Milliseconds since 1970, on the clock of whoever makes the load. */
  at: number;
  /** Which of the nodes, where these are known. */
  node: number;
}

/** At least `bytes` long. */
export function write(mark: Mark, bytes = 0): string {
  return `mark|${mark.speaker}|${mark.count}|${mark.at}|${mark.node}|`.padEnd(bytes, ".");
}

/** Null when it is none of ours. */
export function read(text: string): Mark | null {
  const [word, speaker, count, at, node] = text.split("|", 5);
  if (word !== "mark" || !speaker || node === undefined) return null;
  return { speaker, count: Number(count), at: Number(at), node: Number(node) };
}
