// The chat: threads with what answers them, reactions where the session has them, and the line one writes. Messages are
// changed in place, so that only what is new is read out.

import type { Conversation, Message } from "../conversation";
import { h, part } from "../dom";

export interface Speaker {
  /** One's own user id. */
  user: string;
  colour: (user: string) => string;
  threads: boolean;
  /** A viewer may read and not speak. */
  speaks: boolean;
  say: (text: string, answering: string | null) => boolean;
  react: (message: string, emoji: string, action: "add" | "remove") => void;
  remove: (message: string) => void;
  /** Reads what lies before. */
  earlier: () => Promise<void>;
}

const EMOJI = ["👍", "🎉", "😄", "🤔", "👀", "✅"];
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export class Chat {
  private answering: Message | null = null;
  private readonly rows = new Map<string, HTMLElement>();
  private readonly lists = new Map<string, HTMLElement>();
  /** Of which message the emoji are laid out. */
  private choosing: string | null = null;

  constructor(
    private readonly conversation: Conversation,
    private speaker: Speaker,
  ) {
    part("say").addEventListener("submit", (event) => this.submit(event));
    part("answering-end").addEventListener("click", () => this.answer(null));
    part("earlier").addEventListener("click", () => void this.speaker.earlier());
  }

  offerEarlier(more: boolean): void {
    part("earlier").hidden = !more;
  }

  /** What one may do has changed. */
  become(speaker: Partial<Speaker>): void {
    this.speaker = { ...this.speaker, ...speaker };
    for (const id of ["message", "send"]) part<HTMLInputElement>(id).disabled = !this.speaker.speaks;
    part<HTMLInputElement>("message").placeholder = this.speaker.speaks ? "Message" : "Viewers read along";
    this.show();
  }

  show(): void {
    const lines = part("lines");
    const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    const threads = this.conversation.threads;
    part("chat-empty").hidden = threads.length > 0;
    lay(
      part("threads"),
      threads.map(({ root, answers }) => this.thread(root, answers)),
    );
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  }

  private thread(root: Message, answers: Message[]): HTMLElement {
    let item = this.lists.get(root.id);
    if (item === undefined) {
      item = h("li", { class: "thread" });
      this.lists.set(root.id, item);
    }
    const list = item.querySelector("ol") ?? h("ol", { class: "answers" });
    lay(
      list,
      answers.map((answer) => this.row(answer, "li")),
    );
    lay(item, answers.length > 0 ? [this.row(root, "div"), list] : [this.row(root, "div")]);
    return item;
  }

  private row(message: Message, tag: "li" | "div"): HTMLElement {
    const known = this.rows.get(message.id);
    const drawn = this.draw(message, tag);
    if (known?.tagName === drawn.tagName) {
      if (!known.isEqualNode(drawn)) this.update(known, drawn);
      return known;
    }
    this.rows.set(message.id, drawn);
    return drawn;
  }

  /** Keeps the focus where it was in the row, by what the control is called. */
  private update(known: HTMLElement, drawn: HTMLElement): void {
    const focused = known.contains(document.activeElement) ? document.activeElement?.getAttribute("aria-label") : null;
    known.className = drawn.className;
    known.replaceChildren(...drawn.childNodes);
    if (!focused) return;
    const controls = [...known.querySelectorAll("button")];
    (controls.find((control) => control.getAttribute("aria-label") === focused) ?? controls[0])?.focus();
  }

  private draw(message: Message, tag: "li" | "div"): HTMLElement {
    const own = message.user.id === this.speaker.user;
    const called = message.mentions.includes(this.speaker.user);
    const swatch = h("i", { class: "swatch", "aria-hidden": true });
    swatch.style.setProperty("--who", this.speaker.colour(message.user.id));
    const marks = [message.to !== null && "privately", message.edited && "edited"].filter(Boolean).join(", ");
    const text = message.deleted
      ? h("p", { class: "hint", text: "This message was deleted." })
      : h("p", { class: "text", text: message.text });
    return h(
      tag,
      { class: called ? "message called" : "message" },
      h(
        "p",
        { class: "from" },
        swatch,
        h("span", { class: "name", text: own ? `${message.user.name} (you)` : message.user.name }),
        h("time", { datetime: message.at, text: time.format(new Date(message.at)) }),
        marks !== "" ? h("span", { text: marks }) : null,
      ),
      text,
      ...(this.speaker.threads && !message.deleted ? [this.reactions(message), this.actions(message, own)] : []),
    );
  }

  private reactions(message: Message): HTMLElement | null {
    const given = [...message.reactions].map(([emoji, users]) => this.reaction(message, emoji, users));
    const offered = this.choosing === message.id ? EMOJI.filter((emoji) => !message.reactions.has(emoji)) : [];
    const all = [...given, ...offered.map((emoji) => this.reaction(message, emoji, []))];
    return all.length > 0 ? h("div", { class: "reactions" }, ...all) : null;
  }

  private actions(message: Message, own: boolean): HTMLElement | null {
    if (!this.speaker.speaks) return null;
    const open = this.choosing === message.id;
    const action = (text: string, about: string, click: () => void, expanded?: boolean) =>
      h("button", {
        type: "button",
        class: "plain",
        text,
        "aria-label": about,
        "aria-expanded": expanded,
        on: { click },
      });
    const who = `${message.user.name}'s message`;
    const choose = () => {
      this.choosing = open ? null : message.id;
      this.show();
    };
    return h(
      "div",
      { class: "doings" },
      action("React", `React to ${who}`, choose, open),
      action("Reply", `Reply to ${who}`, () => this.answer(message)),
      own ? action("Delete", "Delete your message", () => this.speaker.remove(message.id)) : null,
    );
  }

  private reaction(message: Message, emoji: string, users: string[]): HTMLElement {
    const own = users.includes(this.speaker.user);
    const count = users.length;
    const react = () => {
      this.choosing = null;
      this.speaker.react(message.id, emoji, own ? "remove" : "add");
      this.show();
    };
    return h("button", {
      type: "button",
      class: "reaction",
      text: count > 0 ? `${emoji} ${count}` : emoji,
      "aria-pressed": count > 0 ? String(own) : null,
      "aria-label": count > 0 ? `${emoji} ${count}, ${own ? "take yours back" : "add yours"}` : `React with ${emoji}`,
      disabled: !this.speaker.speaks,
      on: { click: react },
    });
  }

  private answer(message: Message | null): void {
    this.answering = message;
    part("answering").hidden = message === null;
    part("answering-text").textContent =
      message === null ? "" : `Replying to ${message.user.name}: ${message.text.slice(0, 60)}`;
    part("message").focus();
  }

  private submit(event: Event): void {
    event.preventDefault();
    const field = part<HTMLInputElement>("message");
    const text = field.value.trim();
    if (text === "" || !this.speaker.say(text, this.answering?.id ?? null)) return;
    field.value = "";
    this.answer(null);
    const lines = part("lines");
    lines.scrollTop = lines.scrollHeight;
  }
}

/** Makes these the children, in this order, and touches only what is elsewhere or missing. */
function lay(parent: HTMLElement, children: HTMLElement[]): void {
  for (const child of [...parent.children]) if (!children.includes(child as HTMLElement)) child.remove();
  children.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}
