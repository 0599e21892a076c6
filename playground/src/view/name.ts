// One's own name, for who has no account that gives one.

import { part } from "../dom";
import { rename, type Identity } from "../identity";
import { speak } from "./notices";

export function offerName(me: Identity, renamed: (name: string) => void): void {
  const form = part<HTMLFormElement>("rename");
  const field = part<HTMLInputElement>("name");
  form.hidden = me.token !== null;
  field.value = me.name;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = rename(field.value);
    field.value = name;
    renamed(name);
    speak(`Your name is ${name}.`);
  });
}
