// One socket: texts in and out, and how it ended. Where a k6 does not yet tell the close code with the end, it is read
// out of the error that came before it.

import { WebSocket } from "k6/websockets";

/** What a socket that ended without a word is said to have been closed with. */
export const LOST = 1006;
/** The same of one that was given up because nothing was heard from it: no code on the wire, but k6 allows it. */
export const SILENT = 4999;

export interface End {
  code: number;
  /** When the node wants one back. */
  retryInMs: number | null;
  /** False when it never opened. */
  opened: boolean;
}

export interface Hearer {
  opened(): void;
  text(text: string): void;
  ended(end: End): void;
}

export class Socket {
  private socket: WebSocket;
  private error = "";
  private opened = false;
  private isOver = false;
  private ownCode: number | null = null;

  /** `name` is what it is called in metrics, so that users and rooms are not. */
  constructor(url: string, name: string, private hearer: Hearer) {
    this.socket = new WebSocket(url, null, { tags: { name, url: name } });
    this.socket.addEventListener("open", () => {
      this.opened = true;
      hearer.opened();
    });
    this.socket.addEventListener("message", (event) => {
      if (!this.isOver && "data" in event && typeof event.data === "string") hearer.text(event.data);
    });
    this.socket.addEventListener("error", (event) => {
      if ("error" in event) this.error = event.error;
    });
    this.socket.addEventListener("close", (event) => this.end(event));
  }

  send(text: string): void {
    if (this.socket.readyState === 1) this.socket.send(text);
  }

  close(code = 1000): void {
    this.ownCode = code;
    this.socket.close(code);
  }

  /** Nothing was heard for too long: as good as gone, whether or not the other end agrees. */
  abandon(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.socket.close();
    this.hearer.ended({ code: SILENT, retryInMs: null, opened: this.opened });
  }

  private end(event: object): void {
    if (this.isOver) return;
    this.isOver = true;
    const told = ending(event, this.error);
    this.hearer.ended({
      code: this.ownCode ?? told.code,
      retryInMs: retryIn(told.reason),
      opened: this.opened,
    });
  }
}

/** Code and reason, from the event of the end or from the error before it; 1006 when neither tells. */
export function ending(event: object, error: string): { code: number; reason: string } {
  const { code, reason } = event as { code?: number; reason?: string };
  if (typeof code === "number" && code > 0) return { code, reason: reason ?? "" };
  const found = /websocket: close (\d{4})(?: \([^)]*\))?(?:: (.*))?$/.exec(error);
  return found ? { code: Number(found[1]), reason: found[2] ?? "" } : { code: LOST, reason: "" };
}

function retryIn(reason: string): number | null {
  const found = /"retry_in_ms"\s*:\s*(\d+)/.exec(reason);
  return found ? Number(found[1]) : null;
}
