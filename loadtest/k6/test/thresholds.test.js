// Fails when a threshold is read otherwise than k6 reads it, or a missed one is taken for kept.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Metrics, percentile } from "../runner/metrics.js";
import { exported, judged } from "../runner/summary.js";
import { expression, selection, thresholds } from "../runner/thresholds.js";

test("a percentile lies between two samples in proportion", () => {
  const sorted = [10, 20, 30, 40, 50];
  assert.equal(percentile(sorted, 0), 10);
  assert.equal(percentile(sorted, 50), 30);
  assert.equal(percentile(sorted, 90), 46);
  assert.equal(percentile(sorted, 100), 50);
  assert.equal(percentile([7], 99), 7);
  assert.equal(percentile([], 99), 0);
});

test("samples of a trend may come in any order, also after it was asked", () => {
  const trend = new Metrics().declare("t", "trend");
  for (const value of [5, 1, 4]) trend.add(value);
  assert.equal(trend.sink.percentile(50), 4);
  for (const value of [2, 3]) trend.add(value);
  assert.deepEqual(trend.sink.values(), {
    count: 5,
    avg: 3,
    min: 1,
    med: 3,
    max: 5,
    "p(90)": 4.6,
    "p(95)": 4.8,
    "p(99)": 4.96,
  });
});

test("an expression is a value of its kind of metric, a comparison and a bound", () => {
  const { sink } = new Metrics().declare("t", "trend");
  for (const value of [1, 2, 3]) sink.add(value);
  const holds = (text) => expression(text, "trend").judge(sink, 1).ok;
  assert.ok(holds("p(99)<3"));
  assert.ok(holds("max<=3"));
  assert.ok(holds(" avg == 2 "));
  assert.ok(holds("med!=3"));
  assert.ok(holds("p(99.9)>2.5"));
  assert.ok(!holds("p(50)>2"));
  assert.ok(!holds("min>=1.5"));
  assert.ok(!holds("max<3"));
});

test("what cannot be asked of a metric is refused before the run", () => {
  for (const [text, kind] of [
    ["rate<0.1", "trend"],
    ["p(99)<1", "counter"],
    ["count>1", "gauge"],
    ["value<1", "rate"],
    ["count", "counter"],
    ["count=0", "counter"],
    ["p(101)<1", "trend"],
    ["count==none", "counter"],
  ]) {
    assert.throws(() => expression(text, kind), Error, `${text} of a ${kind}`);
  }
  assert.throws(() => thresholds({ thresholds: { nobody: ["count==0"] } }, new Metrics()), /nobody/);
});

test("without samples counters and rates are 0, so that what should have happened is missed", () => {
  const metrics = new Metrics();
  assert.ok(expression("count==0", "counter").judge(metrics.declare("c", "counter").sink, 1).ok);
  assert.ok(!expression("count>0", "counter").judge(metrics.declare("c", "counter").sink, 1).ok);
  assert.ok(!expression("rate>0.99", "rate").judge(metrics.declare("r", "rate").sink, 1).ok);
});

test("a selector takes samples with all of its tags", () => {
  assert.deepEqual(selection("fanout_ms{path:remote,door:pairing}"), {
    name: "fanout_ms",
    selector: "path:remote,door:pairing",
    wanted: [["path", "remote"], ["door", "pairing"]],
  });
  assert.throws(() => selection("fanout_ms{remote}"), /no tag/);
  assert.throws(() => selection("{path:remote}"), /names no metric/);

  const metrics = new Metrics();
  const trend = metrics.declare("fanout_ms", "trend");
  const asked = thresholds({ thresholds: { "fanout_ms{path:remote}": ["max<10"], fanout_ms: ["max<10"] } }, metrics);
  trend.add(5, { path: "remote", door: "pairing" });
  trend.add(50, { path: "local", door: "pairing" });
  trend.add(60);
  assert.deepEqual(judged(asked, 1).map(({ metric, value, ok }) => [metric, value, ok]), [
    ["fanout_ms{path:remote}", 5, true],
    ["fanout_ms", 60, false],
  ]);
});

test("a summary says true of what was missed, as k6's does", () => {
  const metrics = new Metrics();
  metrics.declare("lost", "counter").add(1);
  metrics.declare("ok", "rate").add(true);
  const asked = thresholds({ thresholds: { lost: ["count==0", "count<2"], ok: ["rate==1"] } }, metrics);
  const all = exported(metrics, judged(asked, 2), 2).metrics;
  assert.deepEqual(all.lost, { count: 1, rate: 0.5, thresholds: { "count==0": true, "count<2": false } });
  assert.deepEqual(all.ok, { passes: 1, fails: 0, value: 1, thresholds: { "rate==1": false } });
});

test("one metric for all who declare it, but not of two kinds", () => {
  const metrics = new Metrics();
  assert.equal(metrics.declare("lost", "counter"), metrics.declare("lost", "counter"));
  assert.throws(() => metrics.declare("lost", "rate"), /cannot be a rate/);
  assert.throws(() => metrics.declare("lost sockets", "rate"), /no name/);
  assert.throws(() => metrics.find("lost").add("much"), /no number/);
});
