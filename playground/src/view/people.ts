// The list of people, and their colours as a ribbon along the top of the page. A host gives roles here.

import { h, part } from "../dom";
import type { Person } from "../people";
import type { Role } from "../rest";

interface Does {
  visit: (person: Person) => void;
  /** `null`: roles are not one's own to give. */
  assign: ((person: Person, role: Role) => void) | null;
}

const GIVEN: Role[] = ["host", "editor", "viewer", "banned"];
/** More would not be read, and a row each would cost. */
const SHOWN = 60;

let shown = "";

export function showPeople(people: Person[], does: Does): void {
  // Carets move all the time and change nothing here; what is drawn anew loses the focus.
  const next = JSON.stringify([people, does.assign !== null]);
  if (next === shown) return;
  shown = next;
  const focused = part("people").contains(document.activeElement)
    ? document.activeElement?.getAttribute("aria-label")
    : null;
  part("people-count").textContent = people.length > 1 ? `${people.length} here` : "only you";
  part("people").replaceChildren(...people.slice(0, SHOWN).map((person) => row(person, does)));
  if (people.length > SHOWN)
    part("people").append(h("li", { class: "hint", text: `and ${people.length - SHOWN} more` }));
  if (focused)
    part("people")
      .querySelector<HTMLElement>(`[aria-label="${CSS.escape(focused)}"]`)
      ?.focus();
  part("ribbon").replaceChildren(
    ...people.slice(0, SHOWN).map(({ colour }) => {
      const stripe = h("i");
      stripe.style.setProperty("--who", colour);
      return stripe;
    }),
  );
}

function row(person: Person, does: Does): HTMLElement {
  const swatch = h("i", { class: "swatch", "aria-hidden": true });
  swatch.style.setProperty("--who", person.colour);
  const name = h("span", { class: "name", text: person.name, title: person.key });
  const status =
    person.status === "idle" || person.status === "away" ? h("span", { class: "hint", text: person.status }) : null;
  const own = person.own ? h("span", { class: "tag", text: "you" }) : null;
  const who = h("span", { class: "who" }, swatch, name, own, status);
  return h("li", { class: "person" }, who, find(person, does), role(person, does));
}

function role(person: Person, { assign }: Does): HTMLElement | null {
  if (person.role === null) return null;
  if (assign === null || person.own) return h("span", { class: "tag", text: person.role });
  const choice = h("select", {
    "aria-label": `Role of ${person.name}`,
    on: {
      change: () => {
        assign(person, choice.value as Role);
        // It is so when the node says so.
        choice.value = person.role ?? "";
      },
    },
  });
  choice.append(...GIVEN.map((each) => h("option", { text: each, value: each, selected: each === person.role })));
  return choice;
}

function find(person: Person, { visit }: Does): HTMLElement | null {
  if (person.client === null) return null;
  const label = `Go to ${person.name}'s caret`;
  return h("button", {
    type: "button",
    class: "plain",
    text: "Find",
    "aria-label": label,
    on: { click: () => visit(person) },
  });
}
