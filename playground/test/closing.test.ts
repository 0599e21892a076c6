// What a page does when the node closes a connection.

import { expect, test } from "vitest";
import { judge } from "../src/closing";

test("comes back from what passes, and from a connection that was lost without a word", () => {
  for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 4408, 4429, 4503])
    expect(judge(code, "").verdict, String(code)).toBe("again");
});

test("does not hammer a node that has refused", () => {
  for (const code of [1002, 1003, 1007, 1008, 1009, 4400, 4404, 4410])
    expect(judge(code, "").verdict, String(code)).toBe("stop");
  for (const code of [4401, 4403]) expect(judge(code, "").verdict).toBe("identity");
  expect(judge(4409, "").verdict).toBe("anew");
});

test("waits as long as the node asks", () => {
  expect(judge(1012, '{"retry_in_ms":1500}')).toMatchObject({ verdict: "again", after: 1500 });
  expect(judge(1013, '{"retry_in_ms":"soon"}').after).toBeUndefined();
  expect(judge(1013, "{nonsense").after).toBeUndefined();
});

test("says the node's own reason where it refused", () => {
  expect(judge(4403, "this session is recorded").sentence).toBe("This session is recorded.");
  expect(judge(4410, "").sentence).toBe("This session has ended.");
  expect(judge(1006, "").sentence).toBe("The connection was lost.");
});
