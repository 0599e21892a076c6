// The steps of a replay.

import { expect, test } from "vitest";
import { pause, stride, timeline } from "../src/replay";

const line = (frame: object) => JSON.stringify(frame);
const LINES = [
  line({ type: "code_update", code: "b", user_id: "u2", version: 3, timestamp: "2026-01-01T00:00:02.000Z" }),
  line({ type: "user_joined", user: { user_id: "u1", username: "Ann" }, role: "host" }),
  line({ type: "chat_message", id: "m", user: { user_id: "u2", username: "Bob" }, content: "hi" }),
  line({ type: "code_update", user_id: "u1", version: 1, timestamp: "2026-01-01T00:00:00.000Z" }),
  "",
].join("\n");

test("the lines in which the text changed are the steps where versions are not told", () => {
  const { steps, names } = timeline(LINES, null);
  expect(steps.map(({ version, user, code }) => [version, user, code])).toEqual([
    [1, "u1", null],
    [3, "u2", "b"],
  ]);
  expect([...names]).toEqual([
    ["u1", "Ann"],
    ["u2", "Bob"],
  ]);
});

test("every version is a step where they are, and what the lines say is kept", () => {
  const { steps } = timeline(LINES, 4);
  expect(steps.map(({ version }) => version)).toEqual([1, 2, 3, 4]);
  expect(steps[2]).toMatchObject({ code: "b", user: "u2" });
  expect(steps[3]).toEqual({ version: 4, at: null, user: null, code: null });
});

test("nothing recorded is no step", () => {
  expect(timeline("", null).steps).toEqual([]);
  expect(timeline("", 0).steps).toEqual([]);
});

test("a night passes in a moment, and quick keys can still be seen", () => {
  const at = (time: string | null) => ({ version: 1, user: "", code: null, at: time });
  expect(pause(at("2026-01-01T00:00:00Z"), at("2026-01-01T09:00:00Z"))).toBe(1_200);
  expect(pause(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00.005Z"))).toBe(120);
  expect(pause(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00.500Z"))).toBe(500);
  expect(pause(at(null), at(null))).toBe(120);
});

test("a long session is played in a bounded time", () => {
  expect(stride(1)).toBe(1);
  expect(stride(300)).toBe(1);
  expect(Math.ceil(100_000 / stride(100_000))).toBeLessThanOrEqual(300);
});
