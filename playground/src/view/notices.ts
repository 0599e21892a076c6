// Sentences across the page about what concerns all of it. One of a kind at a time: a newer one takes the older's
// place.

import { h, part } from "../dom";

interface Notice {
  /** Nothing is lost and nothing is to be done. */
  calm?: boolean;
  actions?: { label: string; run: () => void }[];
}

const shown = new Map<string, HTMLElement>();

export function notice(kind: string, sentence: string, { calm = false, actions = [] }: Notice = {}): void {
  const close = () => dismiss(kind);
  const element = h(
    "div",
    { class: calm ? "notice calm" : "notice" },
    h("p", { text: sentence }),
    ...actions.map(({ label, run }) => h("button", { type: "button", text: label, on: { click: run } })),
    h("button", { type: "button", class: "plain", text: "Dismiss", on: { click: close } }),
  );
  const old = shown.get(kind);
  if (old) old.replaceWith(element);
  else part("notices").append(element);
  shown.set(kind, element);
}

export function dismiss(kind: string): void {
  shown.get(kind)?.remove();
  shown.delete(kind);
}

/** For who listens instead of looking; seen elsewhere on the page. */
export function speak(sentence: string): void {
  part("spoken").textContent = sentence;
}
