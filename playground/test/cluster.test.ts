// Rates out of counts.

import { expect, test } from "vitest";
import { Rate } from "../src/cluster";

test("a rate needs two counts, and is taken over some seconds", () => {
  const rate = new Rate();
  expect(rate.next(0, 100)).toBeNull();
  expect(rate.next(2_000, 120)).toBe(10);
  // A beat brought nothing: over the whole time there was something.
  expect(rate.next(4_000, 120)).toBe(5);
});

test("what is long past does not count", () => {
  const rate = new Rate();
  rate.next(0, 0);
  rate.next(2_000, 10_000);
  for (let at = 4_000; at <= 20_000; at += 2_000) rate.next(at, 10_000);
  expect(rate.next(22_000, 10_000)).toBe(0);
});

test("a node that began anew makes no negative rate", () => {
  const rate = new Rate();
  rate.next(0, 5_000);
  rate.next(2_000, 5_010);
  expect(rate.next(4_000, 3)).toBeNull();
  expect(rate.next(6_000, 7)).toBe(2);
});
