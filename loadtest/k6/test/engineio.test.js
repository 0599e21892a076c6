// Fails when packets of Engine.IO or Socket.IO are read or written as a server would not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { imported } from "./imported.js";

const io = await imported("lib/engineio.ts");

test("a frame is one packet of Engine.IO", () => {
  const open = '0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1048576}';
  assert.equal(io.packet(open).sid, "s");
  assert.equal(io.packet(open).pingInterval, 25000);
  assert.deepEqual(io.packet("2"), { type: "ping", data: "" });
  assert.deepEqual(io.packet("2probe"), { type: "ping", data: "probe" });
  assert.equal(io.pong("probe"), "3probe");
  assert.deepEqual(io.packet('42["a",1]'), { type: "message", data: '2["a",1]' });
  assert.deepEqual(io.packet("1"), { type: "close" });
  assert.deepEqual(io.packet("6"), { type: "noop" });
});

test("what is no packet is refused", () => {
  for (const frame of ["", "7", "x", "hello"]) assert.throws(() => io.packet(frame), /no packet of Engine.IO/);
  for (const data of ["", "9", "x"]) assert.throws(() => io.event(data), /no packet of Socket.IO/);
  assert.throws(() => io.event('2{"no":"list"}'), /without its list/);
  assert.throws(() => io.event("2[1]"), /without a name/);
  assert.throws(() => io.event('51-["a",{"_placeholder":true,"num":0}]'), /binary/);
  assert.throws(() => io.event('2/other,["a"]'), /namespace \/other/);
});

test("packets of Socket.IO are read", () => {
  assert.deepEqual(io.event('0{"sid":"s"}'), { type: "connect", data: { sid: "s" } });
  assert.deepEqual(io.event("0"), { type: "connect", data: undefined });
  assert.deepEqual(io.event("1"), { type: "disconnect" });
  assert.deepEqual(io.event('2["receive",{"code":"1\\n2"}]'), {
    type: "event",
    name: "receive",
    values: [{ code: "1\n2" }],
    id: null,
  });
  assert.equal(io.event('212["a"]').id, 12);
  assert.equal(io.event('20["a"]').id, 0);
  assert.deepEqual(io.event("312[]"), { type: "ack", id: 12, values: [] });
  assert.deepEqual(io.event('37[{"ok":true}]'), { type: "ack", id: 7, values: [{ ok: true }] });
  assert.deepEqual(io.event('4{"message":"no"}'), { type: "refused", data: { message: "no" } });
  // The main namespace may be named.
  assert.equal(io.event('2/,["a"]').name, "a");
});

test("what is written is read as it was", () => {
  assert.equal(io.connect(), "40");
  assert.equal(io.connect({ token: "t" }), '40{"token":"t"}');
  const frame = io.emit("change", { room: "r", code: 'a "quoted", 12[text]' }, 3);
  const read = io.event(io.packet(frame).data);
  const value = { room: "r", code: 'a "quoted", 12[text]' };
  assert.deepEqual(read, { type: "event", name: "change", values: [value], id: 3 });
  assert.equal(io.event(io.packet(io.emit("ping", {})).data).id, null);
  assert.equal(io.event(io.packet(io.disconnect).data).type, "disconnect");
});
