// The editor of the shared text. Tab indents there, as in every editor of code, so that it is no trap the keys that
// lead out stand below it and are read out: Escape, then Tab.

import "./sheets";
import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, indentWithTab } from "@codemirror/commands";
import { bracketMatching, indentOnInput, indentUnit } from "@codemirror/language";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Extension } from "@codemirror/state";
import {
  EditorView,
  drawSelection,
  highlightActiveLine,
  highlightActiveLineGutter,
  highlightSpecialChars,
  keymap,
  lineNumbers,
  placeholder,
} from "@codemirror/view";
import { yCollab, yUndoManagerKeymap } from "y-codemirror.next";
import type { SharedDocument } from "../text/document";
import { caretOf, cursors } from "./cursors";
import { support } from "./languages";
import { theme } from "./theme";

export class Editor {
  private view: EditorView | null = null;
  private readonly language = new Compartment();
  private readonly permission = new Compartment();
  private grammar: Extension = [];
  private wanted = "";
  private writable = false;

  constructor(
    private readonly place: HTMLElement,
    private readonly shared: SharedDocument,
  ) {
    this.show();
  }

  /** Shows the document that there is now. */
  show(): void {
    const focused = this.view?.hasFocus ?? false;
    this.view?.destroy();
    this.view = new EditorView({ parent: this.place, state: this.state() });
    if (focused) this.view.focus();
  }

  async speak(language: string): Promise<void> {
    this.wanted = language;
    const grammar = await support(language);
    // Somebody may have chosen another one while this was loading.
    if (this.wanted !== language) return;
    this.grammar = grammar;
    this.view?.dispatch({ effects: this.language.reconfigure(grammar) });
  }

  allow(writing: boolean): void {
    this.writable = writing;
    this.view?.dispatch({ effects: this.permission.reconfigure(this.permitted()) });
  }

  focus(): void {
    this.view?.focus();
  }

  /** Scrolls to where somebody is. */
  visit(client: number): void {
    const state = this.shared.awareness.getStates().get(client);
    const caret = state && caretOf(state, this.shared.text);
    if (caret) this.view?.dispatch({ effects: EditorView.scrollIntoView(caret.head, { y: "center" }) });
  }

  private state(): EditorState {
    const { text, awareness, undo } = this.shared;
    return EditorState.create({
      doc: text.toString(),
      extensions: [
        // Places are counted alike on both sides only when a line ends with one character.
        EditorState.lineSeparator.of("\n"),
        EditorView.clipboardInputFilter.of((pasted) => pasted.replace(/\r\n?/g, "\n")),
        EditorView.contentAttributes.of({
          "aria-label": "Code",
          "aria-describedby": "editor-keys",
          spellcheck: "false",
        }),
        lineNumbers(),
        highlightSpecialChars(),
        highlightActiveLine(),
        highlightActiveLineGutter(),
        drawSelection(),
        indentUnit.of("    "),
        indentOnInput(),
        bracketMatching(),
        closeBrackets(),
        highlightSelectionMatches(),
        placeholder("Type here. Whoever has the link sees it at once."),
        theme,
        this.language.of(this.grammar),
        this.permission.of(this.permitted()),
        yCollab(text, null, { undoManager: undo }),
        cursors(text, awareness),
        keymap.of([...closeBracketsKeymap, ...yUndoManagerKeymap, ...searchKeymap, ...defaultKeymap, indentWithTab]),
      ],
    });
  }

  private permitted(): Extension {
    return this.writable
      ? []
      : [EditorState.readOnly.of(true), EditorView.contentAttributes.of({ "aria-readonly": "true" })];
  }
}
