// The order of styles.

import { StyleModule } from "style-mod";
import { expect, test } from "vitest";

const [a, b, c] = ["a", "b", "c"].map((name) => new StyleModule({ [`.${name}`]: { color: "red" } })) as [
  StyleModule,
  StyleModule,
  StyleModule,
];

test("later modules win, and a new order is heeded, as style-mod promises", async () => {
  // Replaces what needs a page, so it is loaded here, where there is none, without being called.
  const { place } = await import("../src/editor/sheets");
  const present: StyleModule[] = [];
  place(present, [a, b]);
  expect(present).toEqual([a, b]);
  place(present, [c, b]);
  expect(present.indexOf(c)).toBeLessThan(present.indexOf(b));
  place(present, [b, a]);
  expect(present.indexOf(b)).toBeLessThan(present.indexOf(a));
  expect(present).toHaveLength(3);
});
