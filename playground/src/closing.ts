// What a close code of the node means: whether to come back, and what to say. The table is that of the node's
// protocol; a code that it does not name is a lost connection, from which one comes back.

export type Verdict =
  /** Come back by yourself. */
  | "again"
  /** The document was made anew: forget the own one, begin with an empty one, come back. */
  | "anew"
  /** Come back as somebody else, or with a token. */
  | "identity"
  /** Coming back as one is would be refused again. */
  | "stop";

export interface Closing {
  verdict: Verdict;
  sentence: string;
  /** Milliseconds that the node asks one to wait. */
  after?: number;
}

const TABLE: Record<number, [Verdict, string]> = {
  1000: ["stop", "The node closed the connection."],
  1001: ["again", "The node is going away."],
  1002: ["stop", "The node could not read the connection."],
  1003: ["stop", "The node does not take this kind of frame."],
  1007: ["stop", "The node was sent text that is not UTF-8."],
  1008: ["stop", "The node does not admit pages from this address."],
  1009: ["stop", "A change was larger than the node takes."],
  1011: ["again", "The node had a fault."],
  1012: ["again", "The node is restarting."],
  1013: ["again", "The node is full, or its cluster is away."],
  4400: ["stop", "The node could not make sense of the session id or of what it was sent."],
  4401: ["identity", "The token is missing, has ended or was revoked."],
  4403: ["identity", "You are not admitted to this session."],
  4404: ["stop", "There is no such session."],
  4408: ["again", "Nothing was heard for too long."],
  4409: ["anew", "The document was made anew on the node."],
  4410: ["stop", "This session has ended."],
  4429: ["again", "That was too fast for the node."],
  4503: ["again", "This page could not keep up."],
};

export function judge(code: number, reason: string): Closing {
  const [verdict, sentence] = TABLE[code] ?? ["again", "The connection was lost."];
  const wait = retryIn(reason);
  if (wait !== null) return { verdict, sentence, after: wait };
  // A reason in words is about this very case, so it says more than the table.
  return { verdict, sentence: verdict !== "again" && reason !== "" ? capital(reason) : sentence };
}

function retryIn(reason: string): number | null {
  if (!reason.startsWith("{")) return null;
  try {
    const wait = JSON.parse(reason).retry_in_ms;
    return typeof wait === "number" && wait >= 0 ? wait : null;
  } catch {
    // Not the node's: a proxy between may close with words of its own.
    return null;
  }
}

function capital(words: string): string {
  const sentence = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}
