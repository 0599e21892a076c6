// Messages, threads and reactions, in whatever order they come.

import { expect, test } from "vitest";
import { Conversation, type Said } from "../src/conversation";

const said = (id: string, second: number, more: Partial<Said> = {}): Said => ({
  id,
  user: { user_id: "ann", username: "Ann" },
  content: `message ${id}`,
  timestamp: `2026-01-01T00:00:${String(second).padStart(2, "0")}.000Z`,
  ...more,
});

function shape(conversation: Conversation) {
  return conversation.threads.map(({ root, answers }) => [root.id, ...answers.map(({ id }) => id)]);
}

test("answers stand below the message that began their thread, also answers to answers", () => {
  const conversation = new Conversation();
  conversation.take(said("b", 2, { reply_to: "a" }));
  conversation.take(said("d", 4));
  conversation.take(said("a", 1));
  conversation.take(said("c", 3, { reply_to: "b" }));
  expect(shape(conversation)).toEqual([["a", "b", "c"], ["d"]]);
});

test("an answer whose thread began before what is known is shown by itself", () => {
  const conversation = new Conversation();
  conversation.take(said("b", 2, { reply_to: "gone", thread_id: "gone" }));
  expect(shape(conversation)).toEqual([["b"]]);
});

test("messages that name each other as their beginning do not hang the page", () => {
  const conversation = new Conversation();
  conversation.take(said("a", 1, { reply_to: "b" }));
  conversation.take(said("b", 2, { reply_to: "a" }));
  expect(shape(conversation).flat()).toHaveLength(2);
});

test("what is told twice is there once, and a greeting without reactions leaves them", () => {
  const conversation = new Conversation();
  conversation.take(said("a", 1));
  conversation.react("a", "👍", ["ann", "bob"]);
  conversation.edit("a", "better");
  conversation.take(said("a", 1, { content: "better" }));
  expect(conversation.threads).toHaveLength(1);
  const message = conversation.message("a")!;
  expect([...message.reactions]).toEqual([["👍", ["ann", "bob"]]]);
  expect(message).toMatchObject({ text: "better", edited: true });
});

test("a reaction that the last one took back is gone", () => {
  const conversation = new Conversation();
  conversation.take(said("a", 1, { reactions: [{ emoji: "🎉", users: ["ann"] }] }));
  conversation.react("a", "🎉", []);
  expect(conversation.message("a")!.reactions.size).toBe(0);
});

test("what was deleted keeps its place and loses its words", () => {
  const conversation = new Conversation();
  conversation.take(said("a", 1));
  conversation.remove("a");
  expect(conversation.message("a")).toMatchObject({ text: "", deleted: true });
});

test("earlier messages are asked for before the oldest one", () => {
  const conversation = new Conversation();
  expect(conversation.oldest).toBeNull();
  for (const [id, second] of [
    ["b", 5],
    ["a", 9],
    ["c", 2],
  ] as const)
    conversation.take(said(id, second));
  expect(conversation.oldest).toBe("c");
});
