// Chat, people and language by the pairing door: flat JSON, no roles, no threads. The text itself comes by the Yjs
// door; what this one tells of it is left alone.

import type { Conversation } from "../conversation";
import { JsonSocket, doorTo, type Frame } from "./socket";
import { Talk } from "./talk";

interface Line {
  id?: string;
  user_id: string;
  username: string;
  text: string;
  timestamp: string;
  seq?: number;
}

interface User {
  user_id: string;
  username: string;
  status?: string;
}

export class PairingTalk extends Talk {
  private readonly socket: JsonSocket;

  constructor(session: string, who: () => Record<string, string>, conversation: Conversation) {
    super(conversation);
    this.socket = new JsonSocket(() => pairingDoor(session, who()), {
      frame: (frame) => this.hear(frame),
      refused: (closing) => this.emit("refused", [closing]),
    });
  }

  say(text: string): boolean {
    return this.socket.send({ type: "chat", message: text });
  }

  choose(language: string): boolean {
    return this.socket.send({ type: "language_change", language });
  }

  again(): void {
    this.socket.again();
  }

  private hear(frame: Frame): void {
    switch (frame.type) {
      case "session_state":
        this.members.clear();
        for (const user of frame.users as User[]) this.meet(user);
        for (const line of frame.chat as Line[]) this.take(line);
        this.emit("members", []);
        this.emit("conversation", []);
        this.emit("language", [String(frame.language)]);
        this.emit("greeted", []);
        break;
      case "user_joined":
        this.meet(frame as unknown as User);
        this.emit("members", []);
        break;
      case "user_left":
        this.members.delete(String(frame.user_id));
        this.emit("members", []);
        break;
      case "chat_message":
        this.take(frame as unknown as Line);
        this.emit("conversation", []);
        break;
      case "language_change":
        this.emit("language", [String(frame.language)]);
        break;
      case "error":
        this.emit("problem", [String(frame.message)]);
        break;
    }
  }

  private meet({ user_id, username, status }: User): void {
    this.members.set(user_id, { id: user_id, name: username, role: null, status: status ?? null });
  }

  private take({ id, user_id, username, text, timestamp, seq }: Line): void {
    this.conversation.take({
      id: id ?? `seq-${seq}`,
      user: { user_id, username },
      content: text,
      timestamp,
    });
  }
}

export function pairingDoor(session: string, who: Record<string, string>): string {
  return doorTo(`/api/v1/ws/session/${encodeURIComponent(session)}`, who);
}
