// The dialog that begins a recorded session: with threads, reactions, roles and replay, and the text of the present one
// if one wants.

import { beGuest } from "../account";
import { h, part } from "../dom";
import { identity } from "../identity";
import { linkTo } from "../place";
import { ask, type Recorded } from "../rest";
import { field } from "./sign-in";

/** A text that the new session begins with; the page that opens it takes it out. */
const SEED = "collabd.seed";

export function askToRecord({ text, language }: { text: string; language: string }): void {
  const dialog = part<HTMLDialogElement>("record-dialog");
  const me = identity();
  const title = field("Title", { value: "Playground", required: true, maxlength: "128" });
  const role = h(
    "select",
    {},
    h("option", { value: "editor", text: "write" }),
    h("option", { value: "viewer", text: "read along" }),
  );
  const take = h("input", { type: "checkbox", checked: text !== "" });
  const problem = h("p", { class: "problem", role: "alert" });
  const submit = h("button", { class: "main", text: "Record" });
  const form = h(
    "form",
    { class: "fields" },
    h("p", {
      class: "hint",
      text: "A new session that is kept: with threads, reactions, roles, and a replay of how the text came to be.",
    }),
    title.row,
    h("label", { class: "field" }, "Who has the link and says who they are may", role),
    text === "" ? null : h("label", { class: "check" }, take, "Begin with the present text"),
    me.token === null
      ? h("p", {
          class: "hint",
          text: `You are its host, as a guest who is known in this tab only. Sign in first to be it anywhere.`,
        })
      : null,
    problem,
    h(
      "div",
      { class: "row end" },
      h("button", { type: "button", text: "Cancel", on: { click: () => dialog.close() } }),
      submit,
    ),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      if (me.token === null) await beGuest(me.name);
      const body = { title: title.input.value, language, default_role: role.value };
      const made = await ask<Recorded>("POST", "/api/sessions", { token: identity().token, body });
      if (take.checked && text !== "") sessionStorage.setItem(SEED, JSON.stringify({ session: made.id, text }));
      location.assign(linkTo(made.id, location.origin));
    } catch (refusal) {
      problem.textContent = (refusal as Error).message;
      submit.disabled = false;
    }
  });
  dialog.replaceChildren(h("h2", { id: "record-title", text: "Record a session" }), form);
  dialog.showModal();
}

/** What a session that was just made here begins with; once. */
export function seedOf(session: string): string | null {
  const kept = sessionStorage.getItem(SEED);
  if (kept === null) return null;
  sessionStorage.removeItem(SEED);
  const seed = JSON.parse(kept) as { session: string; text: string };
  return seed.session === session ? seed.text : null;
}
