// Who is listed, and as whom.

import { expect, test } from "vitest";
import { colourOf } from "../src/colours";
import { people } from "../src/people";
import { presenceIn } from "../src/presence";

const member = (id: string, name: string) => ({ id, name, role: null, status: "active" });
const own = { id: "ann", client: 1 };

test("who comes by two doors is one person, in the colour that they say", () => {
  const rows = people(
    [member("ann", "Ann"), member("bob", "Bob")],
    [
      { client: 1, presence: { id: "ann", name: "Ann", colour: "#112233" }, hasCaret: true },
      { client: 2, presence: { id: "bob", name: "Bob", colour: "#445566" }, hasCaret: true },
    ],
    own,
  );
  expect(rows.map(({ name, colour, own, client }) => [name, colour, own, client])).toEqual([
    ["Ann", "#112233", true, null],
    ["Bob", "#445566", false, 2],
  ]);
});

test("a name is the newest that its bearer says, but an account's own where there are roles", () => {
  const awake = [{ client: 2, presence: presenceIn({ user: { id: "bob", name: "Robert" } }), hasCaret: false }];
  expect(people([member("bob", "Bob")], awake, own)[0]!.name).toBe("Robert");
  expect(people([{ ...member("bob", "Bob"), role: "editor" }], awake, own)[0]!.name).toBe("Bob");
});

test("one's own second tab can be gone to, one's own caret here not", () => {
  const [row] = people(
    [],
    [
      { client: 1, presence: presenceIn({ user: { id: "ann", name: "Ann" } }), hasCaret: true },
      { client: 7, presence: presenceIn({ user: { id: "ann", name: "Ann" } }), hasCaret: true },
    ],
    own,
  );
  expect(row).toMatchObject({ own: true, client: 7 });
});

test("another editor that says no user id is a person of its own", () => {
  const rows = people(
    [member("ann", "Ann")],
    [
      { client: 3, presence: presenceIn({ user: { name: "Zed" } }), hasCaret: false },
      { client: 4, presence: presenceIn({}), hasCaret: false },
    ],
    own,
  );
  expect(rows.map(({ name }) => name)).toEqual(["Ann", "Somebody", "Zed"]);
});

test("a member without a caret is listed all the same", () => {
  expect(people([member("cat", "Cat")], [], own)).toEqual([
    { key: "cat", name: "Cat", colour: colourOf("cat"), own: false, role: null, status: "active", client: null },
  ]);
});

test("whatever strangers say of themselves, it is short text or nothing", () => {
  const evil = { toString: 1 };
  for (const state of [null, 7, "x", { user: 5 }, { user: null }, { user: { id: evil, name: evil, color: evil } }]) {
    expect(presenceIn(state)).toEqual({ id: null, name: null, colour: null });
  }
  expect(presenceIn({ user: { name: "x".repeat(10_000) } }).name).toHaveLength(128);
});
