// One session on the page: its text, its chat and its people, and what one may do there. Puts the parts together; what
// each of them is and looks like is theirs.

import { copyText } from "./clipboard";
import type { Closing } from "./closing";
import { colourOf, pale } from "./colours";
import { Conversation, type Said } from "./conversation";
import { Crowd } from "./crowd";
import { part } from "./dom";
import { PairingTalk } from "./doors/pairing";
import { ReviewTalk } from "./doors/review";
import type { Talk } from "./doors/talk";
import { Editor } from "./editor/editor";
import { credentials, type Identity } from "./identity";
import type { Person } from "./people";
import { FRESH } from "./place";
import { Problem, ask, type Role } from "./rest";
import { SharedDocument, type Anew, type Light } from "./text/document";
import { SecondClient, offerReplay } from "./view/beside";
import { Chat } from "./view/chat";
import { LanguageChoice } from "./view/language";
import { showLight } from "./view/light";
import { offerName } from "./view/name";
import { dismiss, notice, speak } from "./view/notices";
import { showPeople } from "./view/people";
import { seedOf } from "./view/record";

const PAGE = 50;
const ANEW: Record<Anew, string> = {
  reset: "The document was made anew on the node; this is the new one.",
  dropped: "What you wrote was not taken: you may only read here. This is the text as the node has it.",
};

export interface RoomOptions {
  session: string;
  recorded: boolean;
  me: Identity;
  /** Why the chat has no threads here; `null` where it has. */
  plain: string | null;
  askWho: () => void;
}

export class Room {
  private readonly session: string;
  private me: Identity;
  private colour: string;
  private readonly shared: SharedDocument;
  private readonly editor: Editor;
  private readonly conversation = new Conversation();
  private readonly talk: Talk;
  private readonly chat: Chat;
  private readonly crowd: Crowd;
  private readonly choice: LanguageChoice;
  private readonly second: SecondClient;
  private role: Role | null = null;
  private refused: Closing | null = null;
  /** Why the node did not take something, until it is dealt with. */
  private denied: string | null = null;
  private writable = false;

  constructor(private readonly options: RoomOptions) {
    const { session, me, recorded } = options;
    this.session = session;
    this.me = me;
    this.colour = colourOf(me.user);
    const who = () => credentials(this.me);
    this.shared = new SharedDocument(yjsDoor(), session, this.present(), who());
    this.editor = new Editor(part("editor"), this.shared);
    this.talk = new (recorded ? ReviewTalk : PairingTalk)(session, who, this.conversation);
    this.chat = this.makeChat();
    this.crowd = new Crowd(me.user, this.shared, this.talk.members, {
      draw: (people) => this.drawPeople(people),
      coloured: () => this.chat.show(),
      wear: (colour) => {
        this.colour = colour;
        this.shared.introduce(this.present());
      },
    });
    this.choice = new LanguageChoice((language) => this.sent(this.talk.choose(language)));
    this.second = new SecondClient(
      session,
      () => this.me,
      () => this.writes,
    );
    if (recorded) offerReplay(session, me.token, () => this.language);
    offerName(me, (name) => this.rename(name));
    this.begin();
    this.listenToText();
    this.listenToTalk();
    addEventListener("beforeunload", (event) => {
      if (this.shared.unsaved > 0) event.preventDefault();
    });
    this.editor.focus();
  }

  get text(): string {
    return this.shared.text.toString();
  }

  get language(): string {
    return this.choice.language;
  }

  private get writes(): boolean {
    return this.role !== "viewer" && this.role !== "banned";
  }

  private present() {
    return { name: this.me.name, id: this.me.user, color: this.colour, colorLight: pale(this.colour) };
  }

  /** Puts in what the session was made to begin with. */
  private begin(): void {
    const { shared } = this;
    const seed = seedOf(this.session);
    if (seed === null) return;
    const once = () => {
      if (!shared.synced) return;
      shared.off("light", once);
      if (shared.text.length === 0) shared.text.insert(0, seed);
    };
    shared.on("light", once);
  }

  private listenToText(): void {
    this.shared.on("light", (light) => this.shine(light));
    this.shine(this.shared.light);
    this.shared.on("denied", (sentence) => {
      this.denied = sentence;
      this.obey();
    });
    this.shared.on("anew", (why, lost) => {
      this.editor.show();
      this.crowd.listen();
      const copy = { label: "Copy the old text", run: () => void copyText(lost ?? "") };
      notice("anew", ANEW[why], lost === null ? { calm: true } : { actions: [copy] });
    });
  }

  private listenToTalk(): void {
    this.talk.on("members", () => this.crowd.soon());
    this.talk.on("conversation", () => this.chat.show());
    this.talk.on("title", showTitle);
    this.talk.on("role", (role) => this.become(role));
    this.talk.on("language", (language) => {
      this.choice.show(language);
      void this.editor.speak(language);
    });
    this.talk.on("greeted", () => {
      dismiss("talk");
      if (this.options.recorded) void this.recall(null);
    });
    this.talk.on("problem", (sentence) => notice("talk", sentence));
    this.talk.on("refused", (closing) => this.refuse(closing));
  }

  private shine(light: Light): void {
    showLight(light);
    const refused = light.state === "refused" ? light.closing : null;
    const writable = this.shared.begun && refused === null;
    if (this.writable !== writable) {
      this.writable = writable;
      this.permit();
    }
    if (this.refused === refused) return;
    this.refused = refused;
    if (refused !== null) this.refuse(refused);
    else dismiss("refused");
  }

  /** All doors say the same when they refuse, so it is one notice. */
  private refuse({ sentence, verdict }: Closing): void {
    const another = { label: "Begin another session", run: () => location.assign(FRESH) };
    const on = verdict === "identity" ? { label: "Sign in…", run: this.options.askWho } : another;
    const copy = { label: "Copy the text", run: () => void copyText(this.text) };
    notice("refused", sentence, { actions: this.shared.unsaved > 0 ? [copy, on] : [on] });
  }

  private become(role: Role): void {
    const changed = this.role !== null && this.role !== role;
    this.role = role;
    this.permit();
    this.chat.become({ speaks: this.writes });
    this.crowd.soon();
    if (!changed) return;
    speak(`You are ${role} now.`);
    this.obey();
    this.second.again();
  }

  /** What a viewer wrote a moment ago, when it was still an editor, is dropped here as well; all else passes. */
  private obey(): void {
    if (this.denied === null) return;
    if (this.writes) return notice("denied", this.denied, { calm: true });
    this.denied = null;
    dismiss("denied");
    if (this.shared.unsaved > 0) this.shared.drop();
  }

  private permit(): void {
    this.editor.allow(this.writes && this.writable);
    this.choice.allow(this.writes);
    part("readonly").hidden = this.writes;
  }

  private rename(name: string): void {
    this.me = { ...this.me, name };
    this.shared.introduce(this.present(), credentials(this.me));
    // The pairing door takes a name from who comes.
    this.talk.again();
    this.second.again();
  }

  private drawPeople(people: Person[]): void {
    const assign = (person: Person, role: Role) => void this.assign(person, role);
    const visit = ({ client }: Person) => client !== null && this.editor.visit(client);
    showPeople(people, { visit, assign: this.role === "host" ? assign : null });
  }

  private async assign(person: Person, role: Role): Promise<void> {
    const path = `/api/sessions/${encodeURIComponent(this.session)}/participants/${encodeURIComponent(person.key)}`;
    try {
      await ask("PUT", path, { token: this.me.token, body: { role } });
    } catch (problem) {
      notice("talk", (problem as Problem).message);
    }
  }

  private makeChat(): Chat {
    const talk = this.talk;
    const review = talk instanceof ReviewTalk ? talk : null;
    part("chat-hint").textContent = this.options.plain;
    part("chat-hint").hidden = this.options.plain === null;
    return new Chat(this.conversation, {
      user: this.me.user,
      colour: (user) => this.crowd.colour(user),
      threads: review !== null,
      speaks: true,
      say: (text, answering) => this.sent(talk.say(text, answering)),
      react: (message, emoji, action) => this.sent(review?.react(message, emoji, action) ?? false),
      remove: (message) => this.sent(review?.remove(message) ?? false),
      earlier: () => this.recall(this.conversation.oldest),
    });
  }

  private sent(done: boolean): boolean {
    if (!done) notice("talk", "Not sent: the connection is away. Try again in a moment.");
    return done;
  }

  /** What was said last, or before a message, as the records have it: the greeting has no reactions. */
  private async recall(before: string | null): Promise<void> {
    const query = new URLSearchParams({ limit: String(PAGE), ...(before === null ? {} : { before }) });
    const path = `/api/sessions/${encodeURIComponent(this.session)}/messages?${query}`;
    try {
      const page = await ask<{ items: Said[]; next_cursor: string | null }>("GET", path, { token: this.me.token });
      for (const message of page.items) this.conversation.take(message);
      this.chat.show();
      this.chat.offerEarlier(page.next_cursor !== null);
    } catch (problem) {
      notice("talk", (problem as Problem).message);
    }
  }
}

function showTitle(title: string): void {
  document.title = `${title} · collabd playground`;
  part("session").textContent = title;
}

function yjsDoor(): string {
  return `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/yjs`;
}
