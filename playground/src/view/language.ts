// The choice of a language. A session may have any word as its own; then it is one more to choose.

import { part } from "../dom";
import { LANGUAGES } from "../editor/languages";

export class LanguageChoice {
  private readonly select = part<HTMLSelectElement>("language");
  private shown = "python";

  /** `choose` says whether the choice went out. */
  constructor(choose: (language: string) => boolean) {
    this.select.replaceChildren(...[...LANGUAGES].map(([value, { label }]) => new Option(label, value)));
    this.select.addEventListener("change", () => {
      if (!choose(this.select.value)) this.select.value = this.shown;
    });
  }

  get language(): string {
    return this.shown;
  }

  show(language: string): void {
    this.shown = language;
    if (![...this.select.options].some(({ value }) => value === language))
      this.select.add(new Option(language, language));
    this.select.value = language;
  }

  allow(choosing: boolean): void {
    this.select.disabled = !choosing;
  }
}
