// Changes of one text by several, and where carets go.

import { expect, test } from "vitest";
import { difference, lineAndColumn, merged, moved } from "../src/text/merge";

const apply = (text: string, { from, to, insert }: ReturnType<typeof difference>) =>
  text.slice(0, from) + insert + text.slice(to);

test("a difference applied is the other text, and as short as can be", () => {
  expect(difference("one two three", "one 2 three")).toEqual({ from: 4, to: 7, insert: "2" });
  expect(difference("aaa", "aaaa")).toEqual({ from: 3, to: 3, insert: "a" });
  expect(difference("same", "same")).toEqual({ from: 4, to: 4, insert: "" });
});

test("a character of two units is never cut", () => {
  // 😀 and 😁 share their first unit, 😀 and 🀀 end in the same unit.
  for (const [before, after] of [
    ["a😀b", "a😁b"],
    ["😀", "😁😀"],
    ["x😀", "x\u{1f600}\u{1f601}"],
    ["\u{1f400}", "\u{1f800}"],
  ] as const) {
    const edit = difference(before, after);
    expect(apply(before, edit)).toBe(after);
    for (const part of [before.slice(edit.from, edit.to), edit.insert, before.slice(0, edit.from)]) {
      expect(part.isWellFormed()).toBe(true);
    }
  }
});

test("two changes of one text are both in it", () => {
  expect(merged("one two", "ONE two", "one TWO")).toBe("ONE TWO");
  expect(merged("one two", "one TWO", "ONE two")).toBe("ONE TWO");
  expect(merged("ab", "aXb", "aYb")).toBe("aXYb");
});

test("what both took out is gone once, and what one put into it stays", () => {
  expect(merged("0123456789", "0789", "0123ab6789")).toBe("0ab789");
  expect(merged("0123456789", "01XX6789", "0123YY9")).toBe("01XXYY9");
});

test("no change on one side leaves the other's", () => {
  expect(merged("a", "a", "b")).toBe("b");
  expect(merged("a", "b", "a")).toBe("b");
  expect(merged("a", "b", "b")).toBe("b");
});

test("random changes in different halves never disturb each other", () => {
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed % below;
  };
  for (let round = 0; round < 300; round += 1) {
    const left = "abc😀ab".repeat(1 + random(3));
    const right = "xyz😁xy".repeat(1 + random(3));
    const cut = random(4);
    const own = left.slice(0, cut) + "L".repeat(random(3)) + left.slice(cut);
    const place = 3 - random(3);
    const other = right.slice(0, -place) + "R".repeat(1 + random(3));
    expect(merged(`${left}|${right}`, `${own}|${right}`, `${left}|${other}`)).toBe(`${own}|${other}`);
  }
});

test("a caret stays at the letter it stood at", () => {
  const edit = difference("hello world", "hello brave world");
  expect(moved(3, edit)).toBe(3);
  expect("hello brave world".slice(moved(8, edit))).toBe("rld");
  // Within what was replaced: not behind its end.
  expect(moved(5, { from: 2, to: 9, insert: "x" })).toBe(3);
  // Somebody writes where the caret stands: it does not run along.
  expect(moved(4, { from: 4, to: 4, insert: "abc" })).toBe(4);
});

test("lines and columns are counted from one, columns in UTF-16", () => {
  expect(lineAndColumn("", 0)).toEqual({ lineNumber: 1, column: 1 });
  expect(lineAndColumn("a\n😀b", 5)).toEqual({ lineNumber: 2, column: 4 });
  expect(lineAndColumn("a\n", 2)).toEqual({ lineNumber: 2, column: 1 });
});
