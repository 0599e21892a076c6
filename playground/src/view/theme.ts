// Light, dark, or as the system has it.

import { part } from "../dom";

const KEY = "collabd.theme";
const NAMES = { system: "Theme: system", light: "Theme: light", dark: "Theme: dark" } as const;
type Theme = keyof typeof NAMES;

const ORDER: Theme[] = ["system", "light", "dark"];

export function offerThemes(): void {
  const button = part<HTMLButtonElement>("theme");
  let theme = ORDER.find((each) => each === localStorage.getItem(KEY)) ?? "system";
  const show = () => {
    button.textContent = NAMES[theme];
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  button.addEventListener("click", () => {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length]!;
    localStorage.setItem(KEY, theme);
    show();
  });
  show();
}
