// Which edits are saved: against real Yjs updates.

import { expect, test } from "vitest";
import * as Y from "yjs";
import { Ledger } from "../src/text/ledger";

function writer(): { text: Y.Text; ledger: Ledger; updates: Uint8Array[]; doc: Y.Doc } {
  const doc = new Y.Doc();
  const ledger = new Ledger(doc.clientID);
  const updates: Uint8Array[] = [];
  doc.on("update", (update: Uint8Array, origin: unknown) => {
    if (origin === "node") return;
    updates.push(update);
    ledger.note(update);
  });
  return { text: doc.getText("code"), ledger, updates, doc };
}

test("an edit is unsaved until its own update is back", () => {
  const { text, ledger, updates } = writer();
  text.insert(0, "one");
  text.insert(3, "two");
  expect(ledger.unsaved).toBe(2);
  ledger.confirm(updates[0]!);
  expect(ledger.unsaved).toBe(1);
  ledger.confirm(updates[1]!);
  expect(ledger.unsaved).toBe(0);
});

test("others' updates confirm nothing of ours", () => {
  const { text, ledger } = writer();
  text.insert(0, "mine");
  const other = new Y.Doc();
  other.getText("code").insert(0, "theirs");
  ledger.confirm(Y.encodeStateAsUpdate(other));
  expect(ledger.unsaved).toBe(1);
});

test("updates that the node put together confirm all that is in them", () => {
  const { text, ledger, updates } = writer();
  text.insert(0, "a");
  text.insert(1, "b");
  text.delete(0, 1);
  const other = new Y.Doc();
  other.getText("code").insert(0, "theirs");
  ledger.confirm(Y.mergeUpdates([...updates, Y.encodeStateAsUpdate(other)]));
  expect(ledger.unsaved).toBe(0);
});

test("a deletion alone is unsaved until it is back, in whatever pieces", () => {
  const { text, ledger, updates, doc } = writer();
  const node = new Y.Doc();
  node.getText("code").insert(0, "0123456789");
  Y.applyUpdate(doc, Y.encodeStateAsUpdate(node), "node");
  text.delete(2, 5);
  expect(ledger.unsaved).toBe(1);
  // Somebody else deletes a part of it.
  const other = new Y.Doc();
  Y.applyUpdate(other, Y.encodeStateAsUpdate(node));
  const before = Y.encodeStateVector(other);
  other.getText("code").delete(3, 1);
  ledger.confirm(Y.encodeStateAsUpdate(other, before));
  expect(ledger.unsaved).toBe(1);
  ledger.confirm(updates[0]!);
  expect(ledger.unsaved).toBe(0);
});

test("what the node has on connecting is saved, and what it lost is not", () => {
  const { text, ledger, doc } = writer();
  text.insert(0, "one");
  const vector = Y.encodeStateVector(doc);
  text.insert(3, "two");
  ledger.compare(vector);
  expect(ledger.unsaved).toBe(1);
  ledger.compare(Y.encodeStateVector(doc));
  expect(ledger.unsaved).toBe(0);
  text.insert(6, "three");
  ledger.compare(Y.encodeStateVector(new Y.Doc()));
  expect(ledger.unsaved).toBe(1);
});

test("an update behind a hole does not confirm what lies before it", () => {
  const { text, ledger, updates } = writer();
  text.insert(0, "one");
  text.insert(3, "two");
  ledger.confirm(updates[1]!);
  expect(ledger.unsaved).toBe(2);
});
