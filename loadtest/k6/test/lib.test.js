// Fails when a close is misread, a message's mark is not what was written, or the account of a room does not see what
// is missing, double or out of order: then no threshold could.

import assert from "node:assert/strict";
import { test } from "node:test";
import { imported, instance } from "./imported.js";

const { ending } = await imported("lib/socket.ts");
const mark = await imported("lib/mark.ts");

test("a close code comes with the end, or in the error before it, or there was none", () => {
  const reason = '{"retry_in_ms":1234}';
  assert.deepEqual(ending({ type: "close", code: 1012, reason }, ""), { code: 1012, reason });
  assert.deepEqual(ending({ type: "close" }, `websocket: close 1012: ${reason}`), { code: 1012, reason });
  assert.deepEqual(ending({}, "websocket: close 1006 (abnormal closure): unexpected EOF"), {
    code: 1006,
    reason: "unexpected EOF",
  });
  assert.equal(ending({}, "websocket: bad handshake").code, 1006);
  assert.equal(ending({}, "").code, 1006);
});

test("a mark is read as it was written, and nothing else is", () => {
  const said = { speaker: "ann", count: 3, at: 1700000000123, node: 2 };
  const text = mark.write(said, 100);
  assert.equal(text.length, 100);
  assert.deepEqual(mark.read(text), said);
  for (const text of ["", "hello", "mark|", "mark|ann|1", "print(1)"]) assert.equal(mark.read(text), null);
});

/// A room with two people who were let in at place 10, and what it measures.
async function room() {
  const { exports, metrics } = await instance("lib/room.ts");
  const room = new exports.Room(0, "pairing");
  const people = ["ann", "bob"].map((user) => {
    const said = [];
    const seat = { user, room: "r", target: 0 };
    return { seat, position: null, isHere: false, wasHere: false, said, say: (id, text) => said.push([id, text]) };
  });
  for (const person of people) {
    room.has(person);
    room.connects(person);
    room.here(person, { kind: "here", position: "e-10", resumed: false, history: [] });
    Object.assign(person, { isHere: true, wasHere: true, position: "e-10" });
  }
  const speak = (person, seq) => {
    room.speak(person);
    const [id, text] = person.said.at(-1);
    room.written(person, id);
    if (seq) room.acked(person, id, seq);
    return text;
  };
  const judge = () => {
    room.judge();
    const { passes, fails } = metrics.find("delivery_ratio").sink.values();
    const counts = ["lost", "gaps", "doubled", "disorder"].map((name) => [name, metrics.find(name).sink.count]);
    return { ...Object.fromEntries(counts), passes, fails };
  };
  return { room, people, speak, judge, metrics };
}

const CLEAN = { lost: 0, gaps: 0, doubled: 0, disorder: 0, fails: 0 };

test("everything told to everybody is clean", async () => {
  const { room: account, people, speak, judge, metrics } = await room();
  const text = speak(people[0], 11);
  assert.equal(account.isSettled(), false);
  for (const person of people) account.line(person, { seq: 11, text }, true);
  assert.equal(account.isSettled(), true);
  assert.deepEqual(judge(), { ...CLEAN, passes: 2 });
  assert.equal(metrics.find("fanout_ms").sink.samples.length, 2);
});

test("what was acknowledged and not told to one of them is lost", async () => {
  const { room: account, people, speak, judge } = await room();
  account.line(people[0], { seq: 11, text: speak(people[0], 11) }, true);
  assert.equal(account.isSettled(), false);
  assert.deepEqual(judge(), { ...CLEAN, lost: 1, passes: 1, fails: 1 });
});

test("what nobody acknowledged is not lost, but a hole when somebody else heard it", async () => {
  const { room: account, people, speak, judge } = await room();
  const [ann, bob] = people;
  const first = speak(ann, null);
  const second = speak(ann, 12);
  account.line(ann, { seq: 11, text: first }, true);
  for (const person of [ann, bob]) account.line(person, { seq: 12, text: second }, true);
  assert.deepEqual(judge(), { ...CLEAN, gaps: 1, passes: 2 });
});

test("the same place twice on one socket is a repetition, on the next one it is not", async () => {
  const { room: account, people, speak, judge } = await room();
  const [ann, bob] = people;
  const text = speak(ann, 11);
  for (const person of [ann, bob]) account.line(person, { seq: 11, text }, true);
  bob.isHere = false;
  account.connects(bob);
  account.line(bob, { seq: 11, text }, false);
  account.here(bob, { kind: "here", position: "e-11", resumed: true, history: [] });
  bob.isHere = true;
  assert.equal(judge().doubled, 0);
  account.line(bob, { seq: 11, text }, true);
  assert.equal(judge().doubled, 1);
});

test("one message at two places was carried out twice", async () => {
  const { room: account, people, speak, judge } = await room();
  const text = speak(people[0], 11);
  for (const person of people) account.line(person, { seq: 11, text }, true);
  account.line(people[0], { seq: 12, text }, true);
  assert.ok(judge().doubled > 0);
});

test("an earlier place after a later one, and two messages at one place, are disorder", async () => {
  const { room: account, people, speak, judge } = await room();
  const [ann, bob] = people;
  const [first, second] = [speak(ann, 11), speak(ann, 12)];
  account.line(ann, { seq: 11, text: first }, true);
  account.line(ann, { seq: 12, text: second }, true);
  account.line(bob, { seq: 12, text: second }, true);
  account.line(bob, { seq: 11, text: first }, true);
  assert.equal(judge().disorder, 1);
  account.line(bob, { seq: 13, text: first }, true);
  account.line(ann, { seq: 13, text: second }, true);
  assert.ok(judge().disorder > 1);
});

test("a room in which nothing was said has shown nothing", async () => {
  const { judge } = await room();
  assert.equal(judge().fails, 1);
});

test("a hole in another virtual user's counting is seen", async () => {
  const { room: account, people, speak, judge } = await room();
  const other = (count) => mark.write({ speaker: "zoe", count, at: Date.now(), node: 0 });
  const text = speak(people[0], 11);
  for (const person of people) {
    account.line(person, { seq: 11, text }, true);
    account.line(person, { seq: 12, text: other(4) }, true);
    account.line(person, { seq: 14, text: other(6) }, true);
  }
  assert.equal(judge().gaps, 1);
});
