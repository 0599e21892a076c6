// A socket of one of the node's JSON doors, which comes back by itself as long as that is of use, and notices a
// connection that is dead without having been closed.

import { judge, type Closing } from "../closing";

export interface Frame {
  type: string;
  [field: string]: unknown;
}

interface Heard {
  frame: (frame: Frame) => void;
  /** Whether frames can be sent now. */
  open?: (open: boolean) => void;
  /** It will not come back by itself. */
  refused: (closing: Closing) => void;
}

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
const PING_MS = 20_000;

export class JsonSocket {
  private socket: WebSocket | null = null;
  private attempts = 0;
  private ended = false;
  private returning: ReturnType<typeof setTimeout> | undefined;
  private readonly pinging: ReturnType<typeof setInterval>;
  private answered = true;

  constructor(
    private readonly url: () => string,
    private readonly heard: Heard,
  ) {
    this.pinging = setInterval(() => this.ping(), PING_MS);
    this.connect();
  }

  /** Returns whether it could be sent: nothing waits here for a connection, for by then it may mean something else. */
  send(frame: Frame): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  /** As somebody else, or because somebody asked for it. */
  again(): void {
    this.attempts = 0;
    this.drop();
    this.connect();
  }

  end(): void {
    this.ended = true;
    clearInterval(this.pinging);
    this.drop();
  }

  private connect(): void {
    clearTimeout(this.returning);
    const socket = new WebSocket(this.url());
    this.socket = socket;
    this.answered = true;
    socket.onopen = () => this.heard.open?.(true);
    socket.onmessage = ({ data }) => {
      this.answered = true;
      this.attempts = 0;
      const frame = JSON.parse(data as string) as Frame;
      if (frame.type !== "pong") this.heard.frame(frame);
    };
    socket.onclose = ({ code, reason }) => {
      this.drop();
      const closing = judge(code, reason);
      if (closing.verdict === "again") this.comeBack(closing.after);
      else this.heard.refused(closing);
    };
  }

  private comeBack(after?: number): void {
    if (this.ended) return;
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** this.attempts, LONGEST_PAUSE_MS);
    this.attempts += 1;
    // Not all at one moment: a node that went had many.
    this.returning = setTimeout(() => this.connect(), after ?? pause * (0.75 + Math.random() / 2));
  }

  private ping(): void {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    if (this.answered) {
      this.answered = false;
      this.send({ type: "ping" });
    } else {
      this.drop();
      this.comeBack();
    }
  }

  private drop(): void {
    clearTimeout(this.returning);
    const socket = this.socket;
    if (socket === null) return;
    this.socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.heard.open?.(false);
  }
}

/** The address of a door of this node. */
export function doorTo(path: string, query: Record<string, string>): string {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}${path}?${new URLSearchParams(query)}`;
}
