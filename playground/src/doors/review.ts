// Chat, people, roles and language of a recorded session, by the review door.

import type { Conversation, Said } from "../conversation";
import type { Role } from "../rest";
import { JsonSocket, doorTo, type Frame } from "./socket";
import { Talk } from "./talk";

interface Participant {
  user_id: string;
  username: string;
  role: Role;
  status?: string;
}

interface User {
  user_id: string;
  username: string;
}

export class ReviewTalk extends Talk {
  private readonly socket: JsonSocket;
  private own = "";

  constructor(session: string, who: () => Record<string, string>, conversation: Conversation) {
    super(conversation);
    this.socket = new JsonSocket(() => doorTo(`/ws/session/${encodeURIComponent(session)}`, who()), {
      frame: (frame) => this.hear(frame),
      refused: (closing) => this.emit("refused", [closing]),
    });
  }

  say(text: string, answering: string | null): boolean {
    const data = answering === null ? {} : { data: { reply_to: answering } };
    return this.socket.send({ type: "chat_message", content: text, ...data });
  }

  react(message: string, emoji: string, action: "add" | "remove"): boolean {
    return this.socket.send({ type: "reaction", data: { message_id: message, emoji, action } });
  }

  remove(message: string): boolean {
    return this.socket.send({ type: "message_delete", data: { message_id: message } });
  }

  choose(language: string): boolean {
    return this.socket.send({ type: "session_update", data: { language } });
  }

  again(): void {
    this.socket.again();
  }

  private hear(frame: Frame): void {
    const data = (frame.data ?? {}) as Record<string, unknown>;
    switch (frame.type) {
      case "connected":
        this.greeted(frame);
        break;
      case "user_joined":
        this.meet({ ...(frame.user as User), role: frame.role as Role, status: "active" });
        break;
      case "user_left":
        this.members.delete((frame.user as User).user_id);
        this.emit("members", []);
        break;
      case "presence_update":
        this.change(String(frame.user_id), { status: String(data.status) });
        break;
      case "participant_update":
        this.assigned(String(data.user_id), data.role as Role | undefined);
        break;
      case "session_update":
        if (typeof data.language === "string") this.emit("language", [data.language]);
        if (typeof data.title === "string") this.emit("title", [data.title]);
        break;
      case "error":
        this.emit("problem", [String(frame.message)]);
        break;
      default:
        if (this.said(frame, data)) this.emit("conversation", []);
    }
  }

  private said(frame: Frame, data: Record<string, unknown>): boolean {
    switch (frame.type) {
      case "chat_message":
        this.conversation.take(frame as unknown as Said);
        return true;
      case "message_edited":
        this.conversation.edit(String(data.message_id), String(data.content));
        return true;
      case "message_deleted":
        this.conversation.remove(String(data.message_id));
        return true;
      case "reaction_update":
        this.conversation.react(String(data.message_id), String(data.emoji), data.users as string[]);
        return true;
      default:
        return false;
    }
  }

  private greeted(frame: Frame): void {
    this.own = (frame.user as User).user_id;
    this.members.clear();
    for (const participant of frame.participants as Participant[]) this.meet(participant);
    for (const message of frame.messages as Said[]) this.conversation.take(message);
    const { title, language } = frame.session as { title: string; language: string };
    this.emit("role", [frame.role as Role]);
    this.emit("members", []);
    this.emit("conversation", []);
    this.emit("title", [title]);
    this.emit("language", [language]);
    this.emit("greeted", []);
  }

  private assigned(user: string, role: Role | undefined): void {
    // Sent away: their sockets are closed, and their leaving is told by itself.
    if (role === undefined) return;
    this.change(user, { role });
    if (user === this.own) this.emit("role", [role]);
  }

  private meet({ user_id, username, role, status }: Participant): void {
    this.members.set(user_id, { id: user_id, name: username, role, status: status ?? null });
    this.emit("members", []);
  }

  private change(user: string, news: { role?: Role; status?: string }): void {
    const member = this.members.get(user);
    if (member === undefined) return;
    this.members.set(user, { ...member, ...news });
    this.emit("members", []);
  }
}
