// Colours that can be read on, whoever chose them.

import { expect, test } from "vitest";
import { colourOf, contrast, freeColour, lettersOn, safeColour } from "../src/colours";

test("names are read on every colour of the palette", () => {
  const taken: string[] = [];
  for (let colour = freeColour(taken); colour !== null; colour = freeColour(taken)) {
    expect(contrast(colour, "#ffffff"), colour).toBeGreaterThanOrEqual(4.5);
    taken.push(colour);
  }
  expect(new Set(taken).size).toBe(8);
});

test("on a colour that somebody else chose, letters are those that are read better", () => {
  for (const colour of ["#ffff00", "#ffffff", "#30bced", "#000080", "#000000", "#808080"]) {
    expect(contrast(colour, lettersOn(colour)), colour).toBeGreaterThanOrEqual(4.5);
  }
});

test("a user has the same colour everywhere", () => {
  expect(colourOf("ann")).toBe(colourOf("ann"));
  expect(new Set(["ann", "bob", "cat", "dan", "eve", "fay"].map(colourOf)).size).toBeGreaterThan(2);
});

test("nothing but a plain colour gets into a style", () => {
  for (const given of ["red; background: url(x)", "url(//x)", "#fff", 7, null, undefined, {}]) {
    expect(safeColour(given, "ann")).toBe(colourOf("ann"));
  }
  expect(safeColour("#30BCED", "ann")).toBe("#30bced");
});
