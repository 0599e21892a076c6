// What is laid beside or over the editor on demand: the second client and the replay, each with the button that shows
// it.

import { part } from "../dom";
import type { Identity } from "../identity";
import { Pane } from "./pane";
import type { Replay } from "./replay";

export class SecondClient {
  private pane: Pane | null = null;

  constructor(
    private readonly session: string,
    private readonly me: () => Identity,
    private readonly writes: () => boolean,
  ) {
    part("pane-toggle").addEventListener("click", () => this.show(this.pane === null));
  }

  /** Connects anew with what one may do now, if it is there. */
  again(): void {
    if (this.pane !== null) this.show(true);
  }

  private show(open: boolean): void {
    this.pane?.end();
    const { name, user, token } = this.me();
    // A token says who one is, there as here; without one the second client is a second user.
    const second = `${name} (pairing)`;
    const who: Record<string, string> = token === null ? { user_id: `${user}-pairing`, username: second } : { token };
    this.pane = open ? new Pane({ session: this.session, who, name: second, token, writes: this.writes() }) : null;
    part("pane").hidden = !open;
    part("main").classList.toggle("two", open);
    part("pane-toggle").setAttribute("aria-expanded", String(open));
  }
}

/** Of recorded sessions; its code is loaded when it is asked for. */
export function offerReplay(session: string, token: string | null, language: () => string): void {
  const toggle = part("replay-toggle");
  const editor = part("editor");
  let replay: Replay | null = null;
  const closed = () => {
    replay = null;
    editor.inert = false;
    toggle.setAttribute("aria-expanded", "false");
    toggle.focus();
  };
  toggle.hidden = false;
  toggle.addEventListener("click", async () => {
    if (replay !== null) return replay.end();
    const { Replay } = await import("./replay");
    // Clicked twice while it was loading.
    if (replay !== null) return;
    toggle.setAttribute("aria-expanded", "true");
    editor.inert = true;
    replay = new Replay(session, token, language(), closed);
  });
}
