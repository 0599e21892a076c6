// When the load ends: after DURATION, or when whoever breaks things meanwhile says so. CONTROL is an address that
// answers `go` and then `end`; DURATION is then the longest it is waited for.

import http from "k6/http";
import exec from "k6/execution";

const ASK_EVERY_MS = 500;

export class Stage {
  private isOver = false;
  private next = 0;
  private end: number;

  /** `seconds` from the scenario's start. */
  constructor(seconds: number) {
    this.end = exec.scenario.startTime + seconds * 1000;
  }

  over(now: number): boolean {
    if (__ENV.CONTROL && !this.isOver && now >= this.next) {
      this.next = now + ASK_EVERY_MS;
      void this.ask(__ENV.CONTROL);
    }
    return this.isOver || now >= this.end;
  }

  private async ask(url: string): Promise<void> {
    const answer = await http.asyncRequest("GET", url, null, { tags: { name: "control" } });
    // Who controls has gone: there is nothing to wait for.
    if (answer.status !== 200 || answer.body === "end") this.isOver = true;
  }
}
