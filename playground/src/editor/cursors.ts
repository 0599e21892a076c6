// The others' carets and selections in the editor, and one's own for them. Positions are relative to the text, as all
// Yjs editors write them; whole-text clients appear in the same way, by the node. Colours and names come from
// strangers: a colour is checked, a name is text, and both are set without markup.

import { RangeSet, StateEffect, type Extension, type Range } from "@codemirror/state";
import { Decoration, EditorView, ViewPlugin, WidgetType, type DecorationSet, type ViewUpdate } from "@codemirror/view";
import type { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";
import { lettersOn, pale, safeColour } from "../colours";
import { presenceIn } from "../presence";

/** Between two words about where one's own caret is. */
const PAUSE_MS = 80;
const NAME_LENGTH = 40;

const moved = StateEffect.define<null>();

export function cursors(text: Y.Text, awareness: Awareness): Extension {
  return [
    look,
    ViewPlugin.define((view) => new Cursors(view, text, awareness), { decorations: (plugin) => plugin.decorations }),
  ];
}

/** Where somebody's caret is now; `null` when they have none in this text. */
export function caretOf(state: Record<string, unknown>, text: Y.Text): { anchor: number; head: number } | null {
  // CodeMirror's binding calls it `cursor`, Monaco's `selection`.
  const place = (state.cursor ?? state.selection) as { anchor?: unknown; head?: unknown } | null | undefined;
  const anchor = absolute(place?.anchor, text);
  const head = absolute(place?.head, text);
  return anchor === null || head === null ? null : { anchor, head };
}

function absolute(position: unknown, text: Y.Text): number | null {
  if (typeof position !== "object" || position === null || text.doc === null) return null;
  try {
    const found = Y.createAbsolutePositionFromRelativePosition(Y.createRelativePositionFromJSON(position), text.doc);
    return found?.type === text ? found.index : null;
  } catch {
    // Another client's nonsense is its own affair: it has no caret here.
    return null;
  }
}

class Cursors {
  decorations: DecorationSet;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly heard: (change: { added: number[]; updated: number[]; removed: number[] }) => void;

  constructor(
    private readonly view: EditorView,
    private readonly text: Y.Text,
    private readonly awareness: Awareness,
  ) {
    this.decorations = this.draw(view);
    this.heard = ({ added, updated, removed }) => {
      const others = [...added, ...updated, ...removed].some((client) => client !== awareness.clientID);
      if (others) view.dispatch({ effects: moved.of(null) });
    };
    awareness.on("change", this.heard);
  }

  update(update: ViewUpdate): void {
    if ((update.selectionSet || update.docChanged || update.focusChanged) && this.timer === undefined) {
      this.timer = setTimeout(() => this.tell(), PAUSE_MS);
    }
    const others = update.transactions.some((transaction) => transaction.effects.some((effect) => effect.is(moved)));
    if (others || update.docChanged) this.decorations = this.draw(update.view);
  }

  destroy(): void {
    clearTimeout(this.timer);
    this.awareness.off("change", this.heard);
  }

  private tell(): void {
    this.timer = undefined;
    const state = this.awareness.getLocalState();
    if (state === null) return;
    // Who has never been in the text is nowhere in it.
    if (state.cursor === undefined && !this.view.hasFocus) return;
    const { anchor, head } = this.view.state.selection.main;
    const [from, to] = [anchor, head].map((at) => Y.createRelativePositionFromTypeIndex(this.text, at));
    const known = state.cursor as { anchor: Y.RelativePosition; head: Y.RelativePosition } | undefined;
    const same =
      known && Y.compareRelativePositions(known.anchor, from!) && Y.compareRelativePositions(known.head, to!);
    if (!same) this.awareness.setLocalStateField("cursor", { anchor: from, head: to });
  }

  private draw(view: EditorView): DecorationSet {
    const ranges: Range<Decoration>[] = [];
    for (const [client, state] of this.awareness.getStates()) {
      if (client === this.awareness.clientID) continue;
      const caret = caretOf(state, this.text);
      // Behind the end: the text of the view is a moment behind, and is drawn again then.
      if (caret === null || Math.max(caret.anchor, caret.head) > view.state.doc.length) continue;
      const who = presenceIn(state);
      const colour = safeColour(who.colour, who.id ?? String(client));
      const name = (who.name ?? "Somebody").slice(0, NAME_LENGTH);
      const since = this.awareness.meta.get(client)?.clock ?? 0;
      const [from, to] = [Math.min(caret.anchor, caret.head), Math.max(caret.anchor, caret.head)];
      if (from < to) {
        ranges.push(Decoration.mark({ attributes: { style: `background-color: ${pale(colour)}` } }).range(from, to));
      }
      const first = view.state.doc.lineAt(caret.head).number === 1;
      const widget = new Caret(name, colour, first, since);
      ranges.push(Decoration.widget({ widget, side: caret.head > caret.anchor ? -1 : 1 }).range(caret.head));
    }
    return RangeSet.of(ranges, true);
  }
}

class Caret extends WidgetType {
  constructor(
    private readonly name: string,
    private readonly colour: string,
    private readonly first: boolean,
    private readonly since: number,
  ) {
    super();
  }

  override eq(other: Caret): boolean {
    const same = other.name === this.name && other.colour === this.colour && other.first === this.first;
    // A caret that moved is drawn anew, so that its name shows for a moment.
    return same && other.since === this.since;
  }

  override toDOM(): HTMLElement {
    const caret = document.createElement("span");
    caret.className = this.first ? "cm-peer cm-peer-first" : "cm-peer";
    caret.style.setProperty("--who", this.colour);
    caret.style.setProperty("--peer-letters", lettersOn(this.colour));
    // People are listed beside the text; in its midst their names would be read out as a part of it.
    caret.setAttribute("aria-hidden", "true");
    // By the style, so that the line's text stays what is written in it.
    caret.dataset.name = this.name;
    return caret;
  }

  override ignoreEvent(): boolean {
    return true;
  }
}

const look = EditorView.baseTheme({
  ".cm-peer": {
    position: "relative",
    display: "inline",
    borderLeft: "2px solid var(--who-seen)",
    marginLeft: "-1px",
    marginRight: "-1px",
  },
  ".cm-peer::after": {
    content: "attr(data-name)",
    position: "absolute",
    left: "-2px",
    bottom: "100%",
    padding: "0 0.35em",
    borderRadius: "3px 3px 3px 0",
    font: "600 11px/1.5 var(--text-font)",
    whiteSpace: "nowrap",
    color: "var(--peer-letters)",
    backgroundColor: "var(--who)",
    pointerEvents: "none",
    zIndex: "5",
    opacity: "0",
    animation: "peer-name 2.4s ease-out",
  },
  ".cm-peer-first::after": { bottom: "auto", top: "100%", borderRadius: "0 3px 3px 3px" },
  ".cm-peer:hover::after": { opacity: "1" },
});
