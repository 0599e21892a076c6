// The replay over the editor: what the text was at each step, and what that step changed. Read only; the text goes on
// behind it.

import "../editor/sheets";
import { Compartment, EditorState, type Extension } from "@codemirror/state";
import { Decoration, EditorView, lineNumbers } from "@codemirror/view";
import { h, part } from "../dom";
import { support } from "../editor/languages";
import { theme } from "../editor/theme";
import { pause, stride, timeline, type Step } from "../replay";
import { Problem, ask, request } from "../rest";
import { difference } from "../text/merge";

const added = Decoration.mark({ class: "cm-added" });
interface Version {
  version: number;
  code: string;
  timestamp: string | null;
  user_id: string | null;
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export class Replay {
  private steps: Step[] = [];
  private names = new Map<string, string>();
  private at = 0;
  private playing = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private loading: Promise<void> | null = null;
  private readonly language = new Compartment();
  private readonly marks = new Compartment();
  private readonly view: EditorView;
  private readonly slider = h("input", { type: "range", min: "0", max: "0", value: "0", "aria-label": "Version" });
  private readonly play = h("button", { type: "button", class: "main", text: "Play" });
  private readonly close = h("button", { type: "button", text: "Close", on: { click: () => this.end() } });
  private readonly caption = h("p", { class: "caption" });

  constructor(
    private readonly session: string,
    private readonly token: string | null,
    language: string,
    private readonly closed: () => void,
  ) {
    const place = h("div", { class: "replay-text" });
    part("replay").replaceChildren(
      place,
      h("div", { class: "replay-bar" }, this.play, this.slider, this.close, this.caption),
    );
    this.view = new EditorView({ parent: place, state: this.state() });
    void this.colour(language);
    this.slider.addEventListener("input", () => {
      this.stop();
      void this.go(Number(this.slider.value));
    });
    this.play.addEventListener("click", () => (this.playing ? this.stop() : void this.start()));
    part("replay").addEventListener("keydown", this.keys);
    part("replay").hidden = false;
    void this.load();
  }

  end(): void {
    this.stop();
    this.view.destroy();
    part("replay").removeEventListener("keydown", this.keys);
    part("replay").replaceChildren();
    part("replay").hidden = true;
    this.closed();
  }

  private readonly keys = (event: KeyboardEvent) => {
    if (event.key === "Escape") this.end();
  };

  private get path(): string {
    return `/api/sessions/${encodeURIComponent(this.session)}`;
  }

  private async colour(language: string): Promise<void> {
    this.view.dispatch({ effects: this.language.reconfigure(await support(language)) });
  }

  private state(): EditorState {
    const name = { "aria-label": "The text at this version, read only", tabindex: "0" };
    const fixed: Extension = [
      EditorState.readOnly.of(true),
      EditorView.editable.of(false),
      EditorView.contentAttributes.of(name),
    ];
    return EditorState.create({
      extensions: [
        EditorState.lineSeparator.of("\n"),
        lineNumbers(),
        theme,
        fixed,
        this.language.of([]),
        this.marks.of([]),
      ],
    });
  }

  private async load(): Promise<void> {
    this.caption.textContent = "Loading…";
    try {
      const [lines, latest] = await Promise.all([
        request("GET", `${this.path}/replay`, this.token).then((answer) => answer.text()),
        this.latest(),
      ]);
      ({ steps: this.steps, names: this.names } = timeline(lines, latest));
    } catch (problem) {
      this.caption.textContent = (problem as Error).message;
      return;
    }
    const last = this.steps.length - 1;
    this.slider.max = String(Math.max(0, last));
    this.slider.disabled = this.play.disabled = last < 0;
    if (last < 0) this.caption.textContent = "Nothing has been written yet.";
    else await this.go(last);
    (last < 0 ? this.close : this.slider).focus();
  }

  /** The version that the text has now; `null` when the node does not tell versions. */
  private async latest(): Promise<number | null> {
    try {
      return (await ask<Version>("GET", `${this.path}/text`, { token: this.token })).version;
    } catch (problem) {
      if (problem instanceof Problem && problem.status === 404) return null;
      throw problem;
    }
  }

  private async start(): Promise<void> {
    this.playing = true;
    this.play.textContent = "Pause";
    if (this.at >= this.steps.length - 1) await this.go(0);
    this.next();
  }

  private next(): void {
    const to = Math.min(this.at + stride(this.steps.length), this.steps.length - 1);
    if (!this.playing) return;
    if (to === this.at) return this.stop();
    this.timer = setTimeout(
      async () => {
        await this.go(to);
        this.next();
      },
      pause(this.steps[this.at]!, this.steps[to]!),
    );
  }

  private stop(): void {
    clearTimeout(this.timer);
    this.playing = false;
    this.play.textContent = "Play";
  }

  /** Done when the step is shown; those that the slider is pulled across meanwhile are left out. */
  private go(to: number): Promise<void> {
    this.at = to;
    this.slider.value = String(to);
    this.loading ??= this.reach();
    return this.loading;
  }

  private async reach(): Promise<void> {
    try {
      for (let at = -1; at !== this.at;) {
        at = this.at;
        const before = at > 0 ? (await this.filled(this.steps[at - 1]!)).code! : "";
        const step = await this.filled(this.steps[at]!);
        if (at === this.at) this.show(before, step);
      }
    } catch (problem) {
      this.stop();
      this.caption.textContent = (problem as Error).message;
    }
    this.loading = null;
  }

  private show(before: string, { code, at, user, version }: Step): void {
    const text = code ?? "";
    const { from, insert } = difference(before, text);
    const marks =
      insert === "" ? [] : EditorView.decorations.of(Decoration.set([added.range(from, from + insert.length)]));
    this.view.dispatch({
      changes: { from: 0, to: this.view.state.doc.length, insert: text },
      effects: [this.marks.reconfigure(marks), EditorView.scrollIntoView(from, { y: "center" })],
    });
    const when = at === null ? null : moment.format(new Date(at));
    const who = user === null ? null : (this.names.get(user) ?? user);
    const said = [`Version ${version}, step ${this.at + 1} of ${this.steps.length}`, when, who]
      .filter((each) => each !== null)
      .join(" · ");
    this.caption.textContent = said;
    this.slider.setAttribute("aria-valuetext", said);
  }

  /** The step with what its line lacked; asked for once. */
  private async filled(step: Step): Promise<Step> {
    if (step.code !== null) return step;
    const told = await ask<Version>("GET", `${this.path}/text?version=${step.version}`, { token: this.token });
    return Object.assign(step, { code: told.code, at: step.at ?? told.timestamp, user: step.user ?? told.user_id });
  }
}
