// The dialog in which one becomes somebody: a guest, an account, or whoever a token names. What changes who one is
// begins the page anew.

import { beGuest, logIn, logOut, register, userName } from "../account";
import { h, part } from "../dom";
import { signedInWith, type Identity } from "../identity";
import { FRESH } from "../place";

interface Options {
  me: Identity;
  /** Guests are let in by open nodes alone. */
  open: boolean;
  /** Why one must be somebody first; without it the dialog can be left. */
  needed: string | null;
}

interface Way {
  label: string;
  hint: string;
  submit: string;
  fields: HTMLElement[];
  run: () => Promise<void>;
}

export function askWho({ me, open, needed }: Options): void {
  const dialog = part<HTMLDialogElement>("sign-in");
  const problem = h("p", { class: "problem", role: "alert" });
  const form = h("form", { class: "fields" });
  const choices = h("div", { class: "ways", role: "group", "aria-label": "How" });
  const all = ways(me, open);
  const back = { label: "Not now", run: () => dialog.close() };
  // On an open node there are others that one may come into as one is; where tokens are wanted, none.
  const elsewhere = open ? { label: "Another session", run: () => location.assign(FRESH) } : null;
  const leave = needed === null ? back : elsewhere;

  const choose = (chosen: Way) => {
    const leaving = leave && h("button", { type: "button", text: leave.label, on: { click: leave.run } });
    for (const button of choices.children)
      button.setAttribute("aria-pressed", String(button.textContent === chosen.label));
    const submit = h("button", { class: "main", text: chosen.submit });
    form.replaceChildren(
      h("p", { class: "hint", text: chosen.hint }),
      ...chosen.fields,
      problem,
      h("div", { class: "row end" }, leaving, submit),
    );
    problem.textContent = "";
    form.querySelector("input")?.focus();
    form.onsubmit = async (event) => {
      event.preventDefault();
      submit.disabled = true;
      try {
        await chosen.run();
        location.reload();
      } catch (refusal) {
        problem.textContent = (refusal as Error).message;
        submit.disabled = false;
      }
    };
  };

  choices.append(
    ...all.map((way) => h("button", { type: "button", text: way.label, on: { click: () => choose(way) } })),
  );
  dialog.replaceChildren(
    h("h2", { id: "sign-in-title", text: "Who are you?" }),
    needed ? h("p", { text: needed }) : "",
    choices,
    form,
  );
  // There is nothing behind it to go back to.
  dialog.oncancel = (event) => needed !== null && event.preventDefault();
  dialog.showModal();
  choose(all[0]!);
}

export function showAccount(me: Identity): void {
  const dialog = part<HTMLDialogElement>("sign-in");
  const out = async () => {
    await logOut(me.token!);
    location.reload();
  };
  const what = me.guest ? "a guest, known in this tab only" : "signed in";
  dialog.oncancel = null;
  dialog.replaceChildren(
    h("h2", { id: "sign-in-title", text: me.name }),
    h("p", { text: `You are ${what}. Your user id is ${me.user}.` }),
    h(
      "div",
      { class: "row end" },
      h("button", { type: "button", text: "Close", on: { click: () => dialog.close() } }),
      h("button", { type: "button", class: "main", text: "Sign out", on: { click: () => void out() } }),
    ),
  );
  dialog.showModal();
}

function ways(me: Identity, open: boolean): Way[] {
  const guest = field("Name", { value: userName(me.name), required: true, maxlength: "60" });
  const name = field("User name or email", { autocomplete: "username", required: true });
  const password = field("Password", { type: "password", autocomplete: "current-password", required: true });
  const username = field("User name", {
    autocomplete: "username",
    required: true,
    maxlength: "64",
    pattern: "[^\\s@]+",
  });
  const email = field("Email", { type: "email", autocomplete: "email", required: true });
  const chosen = field("Password, at least 8 characters", {
    type: "password",
    autocomplete: "new-password",
    required: true,
    minlength: "8",
  });
  const token = field("Token", { autocomplete: "off", required: true, spellcheck: "false" });
  const all: Way[] = [
    {
      label: "Sign in",
      hint: "With an account of this node.",
      submit: "Sign in",
      fields: [name.row, password.row],
      run: () => logIn(name.input.value, password.input.value),
    },
    {
      label: "Register",
      hint: "Makes an account on this node.",
      submit: "Register",
      fields: [username.row, email.row, chosen.row],
      run: () => register(username.input.value, email.input.value, chosen.input.value),
    },
    {
      label: "Token",
      hint: "One that you were given, or that “collabd token” printed. It is kept in this tab only.",
      submit: "Use it",
      fields: [token.row],
      run: async () => signedInWith(token.input.value),
    },
  ];
  const asGuest: Way = {
    label: "Guest",
    hint: "Without a password. A guest is known in this tab only, until it is closed.",
    submit: "Go on as a guest",
    fields: [guest.row],
    run: () => beGuest(guest.input.value),
  };
  return open ? [asGuest, ...all] : all;
}

export function field(
  label: string,
  attributes: Record<string, unknown>,
): { row: HTMLElement; input: HTMLInputElement } {
  const input = h("input", attributes);
  return { row: h("label", { class: "field" }, label, input), input };
}
