// A client of whole texts, against a node of which the tests decide what arrives when.

import { expect, test } from "vitest";
import { merged } from "../src/text/merge";
import { WholeText } from "../src/text/whole";

/** A node with one text, of which the tests decide what arrives when. */
class Node {
  text = "";
  version = 0;
  readonly history = new Map([[0, ""]]);
  readonly known = new Map<string, number>();
  shown = "";
  readonly sent: { id: string; code: string; base_version: number }[] = [];
  owed = 0;
  readonly client = new WholeText("t", {
    send: (change) => this.sent.push(change),
    show: (text) => (this.shown = text),
    owed: () => (this.owed += 1),
  });

  write(text: string): void {
    this.text = text;
    this.version += 1;
    this.history.set(this.version, text);
  }

  /** Stores a change as the node does; one it knows already only once. */
  store({ id, code, base_version }: { id: string; code: string; base_version: number }): number {
    const known = this.known.get(id);
    if (known !== undefined) return known;
    this.write(merged(this.history.get(base_version)!, code, this.text));
    this.known.set(id, this.version);
    return this.version;
  }

  type(text: string): void {
    this.shown = text;
    this.client.typed(text);
  }
}

function connected(text = ""): Node {
  const node = new Node();
  if (text !== "") node.write(text);
  node.client.greeted(node.text, node.version);
  return node;
}

test("one change is on its way at a time, and what was typed meanwhile follows it", () => {
  const node = connected();
  node.type("a");
  node.type("ab");
  node.type("abc");
  expect(node.sent.map(({ code }) => code)).toEqual(["a"]);
  node.client.taken(node.sent[0]!.id, node.store(node.sent[0]!));
  expect(node.sent.map(({ code, base_version }) => [code, base_version])).toEqual([
    ["a", 0],
    ["abc", 1],
  ]);
});

test("what others wrote while a change was on its way is not taken out by the next change", () => {
  const node = connected("one two");
  node.type("ONE two");
  node.write("one two three");
  node.client.told(node.text, node.version);
  expect(node.shown).toBe("ONE two");
  node.type("ONE! two");
  const version = node.store(node.sent[0]!);
  node.client.taken(node.sent[0]!.id, version);
  // The text of that version is not known yet: anything sent now would take out what is not seen.
  expect(node.sent).toHaveLength(1);
  expect(node.owed).toBe(1);
  expect(node.client.owes).toBe(true);
  node.client.told(node.text, node.version);
  expect(node.client.owes).toBe(false);
  expect(node.shown).toBe("ONE! two three");
  node.store(node.sent[1]!);
  expect(node.text).toBe("ONE! two three");
});

test("the merged text may come before the word that the change was taken", () => {
  const node = connected("b");
  node.type("bc");
  node.write("ab");
  node.store(node.sent[0]!);
  node.client.told(node.text, node.version);
  node.client.taken(node.sent[0]!.id, node.version);
  expect(node.shown).toBe("abc");
  expect(node.sent).toHaveLength(1);
});

test("a text older than what is shown changes nothing", () => {
  const node = connected("new");
  node.client.told("old", 0);
  expect(node.shown).toBe("new");
});

test("a change whose answer was lost with the connection is in the text once", () => {
  const node = connected();
  node.type("once");
  node.store(node.sent[0]!);
  node.client.left();
  node.type("once more");
  expect(node.sent).toHaveLength(1);
  node.client.greeted(node.text, node.version);
  expect(node.sent[1]).toEqual(node.sent[0]);
  node.client.taken(node.sent[1]!.id, node.store(node.sent[1]!));
  node.store(node.sent[2]!);
  expect(node.text).toBe("once more");
});

test("what was typed while nobody listened is sent on coming back, over what others wrote", () => {
  const node = connected("base");
  node.client.left();
  node.type("base, mine");
  expect(node.sent).toEqual([]);
  node.write("their base");
  node.client.greeted(node.text, node.version);
  expect(node.shown).toBe("their base, mine");
  node.store(node.sent[0]!);
  expect(node.text).toBe("their base, mine");
});

test("a change that is refused for good is taken back, one for now is sent again", () => {
  const node = connected("kept");
  node.type("kept not");
  node.client.refused(node.sent[0]!.id, "for now");
  expect(node.sent[1]).toEqual(node.sent[0]);
  node.write("kept by all");
  node.client.told(node.text, node.version);
  node.client.refused(node.sent[0]!.id, "for good");
  expect(node.shown).toBe("kept by all");
  node.type("kept by all on");
  expect(node.sent[2]).toMatchObject({ code: "kept by all on", base_version: node.version });
});

test("what was typed over a text that is too old is put on top of the current one", () => {
  const node = connected("one two");
  node.type("one TWO");
  node.client.refused(node.sent[0]!.id, "too old");
  node.type("one TWO!");
  expect(node.sent).toHaveLength(1);
  node.write("zero one two");
  node.client.told(node.text, node.version);
  expect(node.shown).toBe("zero one TWO!");
  expect(node.sent[1]).toMatchObject({ code: "zero one TWO!", base_version: node.version });
});
