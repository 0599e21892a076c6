// Session ids, links and names.

import { expect, test } from "vitest";
import { freshName, freshSession, isRecorded, isSession, linkTo, sessionIn } from "../src/place";
import { userName } from "../src/account";

test("a link leads to its session, whatever its id", () => {
  for (const id of ["demo", "a|b@c:d", "r-01a22280-bc00-7034-a634-03a71f8714f6"]) {
    const link = new URL(linkTo(id, "http://127.0.0.1:8004"));
    expect(sessionIn(link.search)).toBe(id);
    expect(link.pathname).toBe("/playground");
  }
  expect(sessionIn("?session=")).toBeNull();
  expect(sessionIn("")).toBeNull();
});

test("fresh ids are taken by the node, and no two are alike", () => {
  const ids = Array.from({ length: 200 }, freshSession);
  expect(ids.every(isSession)).toBe(true);
  expect(new Set(ids).size).toBe(200);
});

test("what the node would refuse is known beforehand", () => {
  for (const id of ["", "..", "a b", "ä", "x".repeat(129)]) expect(isSession(id), id).toBe(false);
});

test("recorded sessions are known by their ids", () => {
  expect(isRecorded("r-01a22280-bc00-7034-a634-03a71f8714f6")).toBe(true);
  for (const id of ["r-demo", "01a22280-bc00-7034-a634-03a71f8714f6", freshSession()])
    expect(isRecorded(id)).toBe(false);
});

test("a display name becomes a user name that the node takes", () => {
  expect(userName(" Amber Heron ")).toBe("Amber-Heron");
  expect(userName("ann@example.org")).toBe("ann-example.org");
  expect(userName("  ")).toBe("guest");
  expect(userName(freshName())).toMatch(/^[A-Z][a-z]+-[A-Z][a-z]+$/);
});
