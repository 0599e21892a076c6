// What was said in a session: messages, what answers which, reactions. Takes in what the pairing and the review door
// tell, whichever way and however often; knows no socket and no page.

export interface Message {
  id: string;
  user: { id: string; name: string };
  text: string;
  /** RFC 3339. */
  at: string;
  /** The first message of the thread that this one belongs to. */
  thread: string | null;
  mentions: string[];
  /** Only for that user and the sender. */
  to: string | null;
  edited: boolean;
  deleted: boolean;
  reactions: Map<string, string[]>;
}

export interface Said {
  id: string;
  user: { user_id: string; username: string };
  content: string;
  timestamp: string;
  reply_to?: string | null;
  thread_id?: string | null;
  mentions?: string[];
  to_user?: string | null;
  edited_at?: string | null;
  deleted?: boolean;
  reactions?: { emoji: string; users: string[] }[];
}

export class Conversation {
  private readonly byId = new Map<string, Message>();

  /** In the order in which threads began, each with what answers it, in order. */
  get threads(): { root: Message; answers: Message[] }[] {
    const all = [...this.byId.values()].sort((a, b) => (a.at === b.at ? (a.id < b.id ? -1 : 1) : a.at < b.at ? -1 : 1));
    const answers = new Map<string, Message[]>();
    const roots: Message[] = [];
    for (const message of all) {
      const root = this.rootOf(message);
      if (root === message) roots.push(message);
      else answers.set(root.id, [...(answers.get(root.id) ?? []), message]);
    }
    return roots.map((root) => ({ root, answers: answers.get(root.id) ?? [] }));
  }

  get oldest(): string | null {
    let oldest: Message | null = null;
    for (const message of this.byId.values()) if (oldest === null || message.at < oldest.at) oldest = message;
    return oldest?.id ?? null;
  }

  message(id: string): Message | undefined {
    return this.byId.get(id);
  }

  /** What is known already is brought up to date. */
  take(said: Said): void {
    const known = this.byId.get(said.id);
    const reactions =
      said.reactions === undefined
        ? (known?.reactions ?? new Map<string, string[]>())
        : new Map(said.reactions.map(({ emoji, users }) => [emoji, users]));
    this.byId.set(said.id, {
      id: said.id,
      user: { id: said.user.user_id, name: said.user.username },
      text: said.content,
      at: said.timestamp,
      thread: said.thread_id ?? said.reply_to ?? null,
      mentions: said.mentions ?? [],
      to: said.to_user ?? null,
      edited: Boolean(said.edited_at) || (known?.edited ?? false),
      deleted: said.deleted ?? false,
      reactions,
    });
  }

  react(id: string, emoji: string, users: string[]): void {
    const message = this.byId.get(id);
    if (users.length > 0) message?.reactions.set(emoji, users);
    else message?.reactions.delete(emoji);
  }

  edit(id: string, text: string): void {
    const message = this.byId.get(id);
    if (message) Object.assign(message, { text, edited: true });
  }

  remove(id: string): void {
    const message = this.byId.get(id);
    if (message) Object.assign(message, { text: "", deleted: true });
  }

  /** A reply may name any message of its thread, and the first may lie further back than what is known. */
  private rootOf(message: Message): Message {
    const seen = new Set<string>();
    let root = message;
    while (root.thread !== null && !seen.has(root.id)) {
      seen.add(root.id);
      const above = this.byId.get(root.thread);
      if (above === undefined) break;
      root = above;
    }
    return root;
  }
}
