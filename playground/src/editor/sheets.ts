// Lets CodeMirror's styles through a policy that forbids <style>. The editor hands its rules to style-mod, which puts
// them into such an element; here they become constructed style sheets instead, which the policy allows to scripts of
// the page. Import this before any editor is made.

import { StyleModule } from "style-mod";

const mounted: StyleModule[] = [];
const sheets = new Map<StyleModule, CSSStyleSheet>();

/** As style-mod promises: later modules win, and an order once given is kept unless it is asked for otherwise. */
export function place(present: StyleModule[], modules: readonly StyleModule[]): void {
  let next = 0;
  for (const module of modules) {
    let index = present.indexOf(module);
    if (index >= 0 && index < next) {
      present.splice(index, 1);
      next -= 1;
      index = -1;
    }
    if (index < 0) present.splice(next, 0, module);
    else next = index;
    next += 1;
  }
}

function sheetOf(module: StyleModule): CSSStyleSheet {
  let sheet = sheets.get(module);
  if (sheet === undefined) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(module.getRules());
    sheets.set(module, sheet);
  }
  return sheet;
}

StyleModule.mount = (_root, modules) => {
  place(mounted, Array.isArray(modules) ? modules : [modules as StyleModule]);
  document.adoptedStyleSheets = mounted.map(sheetOf);
};
