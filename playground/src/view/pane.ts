// The second client: a plain field that speaks the pairing dialect, beside the editor that speaks Yjs. Both edit one
// text, so what is typed on one side appears on the other. The last frames are shown as they went.

import { judge } from "../closing";
import { h, part } from "../dom";
import { pairingDoor } from "../doors/pairing";
import { JsonSocket, type Frame } from "../doors/socket";
import { ask } from "../rest";
import { difference, lineAndColumn, moved } from "../text/merge";
import { WholeText } from "../text/whole";

export interface PaneOptions {
  session: string;
  /** Query of the door. */
  who: Record<string, string>;
  name: string;
  token: string | null;
  writes: boolean;
}

const FRAMES = 8;
const FRAME_LENGTH = 160;
const CURSOR_MS = 80;
/** How long the node has to tell a text that it owes. */
const OWED_MS = 500;
/** What is only for now: the same change again, after a while. */
const PASSING = ["rate_limited", "backplane_unavailable"];
const TOO_OLD = ["version_gone", "conflict"];

export class Pane {
  private readonly field: HTMLTextAreaElement;
  private readonly log = h("ol", { class: "frames", "aria-label": "Last frames" });
  private readonly state = h("span", { class: "hint", text: "connecting…" });
  private readonly whole: WholeText;
  private readonly socket: JsonSocket;
  private cursorTimer: ReturnType<typeof setTimeout> | undefined;
  private owedTimer: ReturnType<typeof setTimeout> | undefined;
  private told = "";

  constructor(private readonly options: PaneOptions) {
    this.field = h("textarea", {
      "aria-labelledby": "pane-title",
      spellcheck: "false",
      autocapitalize: "off",
      wrap: "off",
      readonly: !options.writes,
    });
    this.draw();
    this.whole = new WholeText(`pane-${crypto.getRandomValues(new Uint32Array(1))[0]}`, {
      send: (change) => this.send({ type: "code_change", ...change }),
      show: (text) => this.show(text),
      owed: () => this.expect(),
    });
    this.field.addEventListener("input", () => this.whole.typed(this.field.value));
    for (const event of ["input", "keyup", "click", "select"])
      this.field.addEventListener(event, () => this.pointSoon());
    this.socket = new JsonSocket(() => pairingDoor(options.session, options.who), {
      frame: (frame) => this.hear(frame),
      open: (open) => {
        if (!open) this.whole?.left();
        this.state.textContent = open ? "connected" : "offline";
      },
      refused: (closing) => (this.state.textContent = closing.sentence),
    });
  }

  end(): void {
    clearTimeout(this.cursorTimer);
    clearTimeout(this.owedTimer);
    this.socket.end();
    part("pane").replaceChildren();
  }

  private draw(): void {
    part("pane").replaceChildren(
      h(
        "div",
        { class: "bar" },
        h("h2", { id: "pane-title", text: `Second client: ${this.options.name}` }),
        this.state,
      ),
      this.field,
      h(
        "div",
        { class: "foot" },
        h("p", {
          class: "hint",
          text: "A plain text field that sends whole texts in the pairing dialect. Its last frames:",
        }),
        this.log,
      ),
    );
  }

  private hear(frame: Frame): void {
    this.note("←", frame);
    switch (frame.type) {
      case "session_state":
        this.whole.greeted(String(frame.code), Number(frame.version));
        break;
      case "code_update":
        this.whole.told(String(frame.code), Number(frame.version));
        break;
      case "code_ack":
        this.whole.taken(String(frame.id), Number(frame.version));
        break;
      case "session_ended":
        this.state.textContent = judge(4410, "").sentence;
        break;
      case "error":
        this.fail(frame);
        break;
    }
  }

  private fail(frame: Frame): void {
    const id = String(frame.id);
    this.state.textContent = String(frame.message);
    const code = String(frame.code);
    if (!PASSING.includes(code)) return this.whole.refused(id, TOO_OLD.includes(code) ? "too old" : "for good");
    setTimeout(() => this.whole.refused(id, "for now"), Number(frame.retry_in_ms ?? 1_000));
  }

  private expect(): void {
    clearTimeout(this.owedTimer);
    this.owedTimer = setTimeout(() => this.whole.owes && void this.reload(), OWED_MS);
  }

  /** The answer of REST is as good as a frame. */
  private async reload(): Promise<void> {
    const { session, token } = this.options;
    const path = `/api/v1/session/${encodeURIComponent(session)}/state`;
    const state = await ask<{ code: string; version: number }>("GET", path, { token });
    this.whole.told(state.code, state.version);
  }

  private show(text: string): void {
    const { selectionStart, selectionEnd, selectionDirection, scrollTop, scrollLeft } = this.field;
    const edit = difference(this.field.value, text);
    this.field.value = text;
    this.field.setSelectionRange(moved(selectionStart, edit), moved(selectionEnd, edit), selectionDirection);
    this.field.scrollTo(scrollLeft, scrollTop);
  }

  private pointSoon(): void {
    // Texts that come in move the caret, too; who is not in the field is nowhere.
    if (document.activeElement !== this.field) return;
    this.cursorTimer ??= setTimeout(() => this.point(), CURSOR_MS);
  }

  private point(): void {
    this.cursorTimer = undefined;
    const cursor = lineAndColumn(this.field.value, this.field.selectionEnd);
    const place = `${cursor.lineNumber}:${cursor.column}`;
    if (place === this.told) return;
    this.told = place;
    this.send({ type: "cursor_move", cursor });
  }

  private send(frame: Frame): void {
    if (this.socket.send(frame)) this.note("→", frame);
  }

  private note(way: string, frame: Frame): void {
    const line = JSON.stringify(frame);
    this.log.prepend(
      h("li", { text: `${way} ${line.length > FRAME_LENGTH ? `${line.slice(0, FRAME_LENGTH)}…` : line}` }),
    );
    while (this.log.children.length > FRAMES) this.log.lastElementChild?.remove();
  }
}
