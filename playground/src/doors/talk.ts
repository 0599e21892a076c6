// What the page wants of the door beside the text: who is there, what is said, the language, one's role. The pairing
// door has that for everybody, the review door for recorded sessions, with threads, reactions and roles.

import { ObservableV2 } from "lib0/observable";
import type { Closing } from "../closing";
import type { Conversation } from "../conversation";
import type { Role } from "../rest";

export interface Member {
  id: string;
  name: string;
  role: Role | null;
  status: string | null;
}

interface Told {
  members: () => void;
  conversation: () => void;
  /** Somebody chose it, or it is the one that the session has. */
  language: (language: string) => void;
  role: (role: Role) => void;
  title: (title: string) => void;
  /** Connected, and told how things are. */
  greeted: () => void;
  refused: (closing: Closing) => void;
  /** The node did not do what was asked; why. */
  problem: (sentence: string) => void;
}

export abstract class Talk extends ObservableV2<Told> {
  readonly members = new Map<string, Member>();
  constructor(readonly conversation: Conversation) {
    super();
  }

  /** Returns whether it was sent. */
  abstract say(text: string, answering: string | null): boolean;
  abstract choose(language: string): boolean;
  /** As whom the identity now says. */
  abstract again(): void;
}
