// What is said and heard at each door, put into the few words that a person understands. A dialect keeps nothing
// between frames but what its protocol makes it.

import * as io from "./engineio.ts";

export interface Line {
  /** Its place in the room's order; null where the door has none. */
  seq: number | null;
  text: string;
}

export type Said =
  /** To be sent back at once. */
  | { kind: "answer"; text: string }
  /** In, with the place one was told up to, and what greets a newcomer. */
  | { kind: "here"; position: string | null; resumed: boolean; history: Line[] }
  | ({ kind: "line"; position: string | null } & Line)
  | { kind: "ack"; id: string; seq: number | null; position: string | null; counts?: [number, number] }
  | { kind: "position"; position: string | null }
  | { kind: "refused"; code: string; message: string; id: string | null; retryInMs: number | null }
  | { kind: "other"; type: string; frame: Frame };

export type Frame = Record<string, any>;

export interface Whence {
  user: string;
  room: string;
  token: string | null;
  since: string | null;
}

export interface Dialect {
  door: string;
  path(whence: Whence): string;
  hear(text: string, whence: Whence): Said[];
  /** A command that every member of the room is told, and that is answered under its id. */
  say(id: string, text: string, whence: Whence): string;
  ping(id: string): string;
}

const query = (values: Record<string, string | null>) =>
  Object.entries(values)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${encodeURIComponent(value!)}`)
    .join("&");

const refused = (frame: Frame): Said => ({
  kind: "refused",
  code: frame.code,
  message: frame.message,
  id: frame.id ?? null,
  retryInMs: frame.retry_in_ms ?? null,
});

/** `/api/v1/ws/session/{id}`: one JSON object a frame, fields beside `type`. */
export const pairing: Dialect = {
  door: "pairing",
  path: ({ user, room, token, since }) =>
    `/api/v1/ws/session/${encodeURIComponent(room)}?${query({ user_id: user, token, since })}`,
  hear(text) {
    const frame: Frame = JSON.parse(text);
    switch (frame.type) {
      case "session_state":
        return [{ kind: "here", position: frame.position, resumed: false, history: frame.chat }];
      case "resumed":
        return [{ kind: "here", position: frame.position, resumed: true, history: [] }];
      case "chat_message":
        return [{ kind: "line", seq: frame.seq, text: frame.text, position: null }];
      case "ack":
        return [{ kind: "ack", id: frame.id, seq: frame.seq, position: frame.position }];
      case "pong":
        return [{ kind: "position", position: frame.position }];
      case "error":
        return [refused(frame)];
      default:
        return [{ kind: "other", type: frame.type, frame }];
    }
  },
  say: (id, text) => JSON.stringify({ type: "chat", message: text, id }),
  ping: (id) => JSON.stringify({ type: "ping", id }),
};

/** `/ws/session/{id}?token=…`, for recorded sessions: nearly the same words. */
export const review: Dialect = {
  ...pairing,
  door: "review",
  path: ({ room, token, since }) => `/ws/session/${encodeURIComponent(room)}?${query({ token, since })}`,
  hear(text, whence) {
    const frame: Frame = JSON.parse(text);
    switch (frame.type) {
      case "connected": {
        const history = frame.messages.map((said: Frame) => ({ seq: said.seq ?? null, text: said.content }));
        return [{ kind: "here", position: frame.position, resumed: false, history }];
      }
      case "chat_message":
        return [{ kind: "line", seq: frame.seq, text: frame.content, position: null }];
      default:
        return pairing.hear(text, whence);
    }
  },
  say: (id, text) => JSON.stringify({ type: "chat_message", content: text, id }),
};

/** `/ws`: `{type, data}`; a socket is in a room once it has joined it, and each event says where in its order. */
export const workspace: Dialect = {
  door: "workspace",
  path: ({ user, token }) => `/ws?${query({ user_id: user, token })}`,
  hear(text, { room, since }) {
    const frame: Frame = JSON.parse(text);
    const data: Frame = frame.data ?? {};
    switch (frame.type) {
      case "connected": {
        const data = { workspace_id: room, ...(since ? { since } : {}) };
        return [{ kind: "answer", text: JSON.stringify({ type: "join_workspace", id: "join", data }) }];
      }
      case "joined":
        return [{ kind: "here", position: data.position, resumed: data.resumed === true, history: [] }];
      case "workspace_update":
        return [{ kind: "line", seq: frame.seq, text: data.text ?? "", position: frame.position }];
      case "ack":
        return [{ kind: "ack", id: data.id, seq: data.seq, position: null }];
      case "error":
        return [refused(data)];
      default: {
        const said: Said[] = [{ kind: "other", type: frame.type, frame }];
        // An agent's own room is another order.
        if (frame.room === `workspace:${room}`) said.push({ kind: "position", position: frame.position });
        return said;
      }
    }
  },
  say: (id, text, { room }) =>
    JSON.stringify({ type: "workspace_update", id, data: { workspace_id: room, update_type: "load", text } }),
  ping: (id) => JSON.stringify({ type: "ping", id }),
};

/** What both Socket.IO doors have in common: `told` is given events and acknowledgements. */
function socketIo(text: string, told: (event: io.Event) => Said[]): Said[] {
  const packet = io.packet(text);
  switch (packet.type) {
    case "open":
      return [{ kind: "answer", text: io.connect() }];
    case "ping":
      return [{ kind: "answer", text: io.pong(packet.data) }];
    case "message": {
      const event = io.event(packet.data);
      if (event.type === "event" && event.name === "error") return [refused(event.values[0] as Frame)];
      return told(event);
    }
    default:
      return [];
  }
}

const SOCKET_IO = "/socket.io/?EIO=4&transport=websocket";
// Acknowledgements of Socket.IO have numbers. A text's are its speaker's count, which is never 0.
const JOINED = 0;

/** Code rooms: a text is the whole of a room, and what a newer one has taken the place of need not be told. */
export const codeRoom: Dialect = {
  door: "code-room",
  path: ({ user }) => `${SOCKET_IO}&${query({ user_id: user })}`,
  hear: (text, { room }) =>
    socketIo(text, (event) => {
      switch (event.type) {
        case "connect":
          return [{ kind: "answer", text: io.emit("join", { room }, JOINED) }];
        case "ack":
          if (event.id === JOINED) return [{ kind: "here", position: null, resumed: false, history: [] }];
          return [{ kind: "ack", id: String(event.id), seq: null, position: null }];
        case "event":
          if (event.name !== "receive") return [{ kind: "other", type: event.name, frame: {} }];
          return [{ kind: "line", seq: null, text: (event.values[0] as Frame).code, position: null }];
        default:
          return [{ kind: "other", type: event.type, frame: {} }];
      }
    }),
  say: (id, text, { room }) => io.emit("change", { room, code: text }, Number(id)),
  ping: () => io.emit("ping", {}),
};

/** Couriers: what is said has recipients, in `room`, and its place in the inbox of each of them. */
export const courier: Dialect = {
  door: "courier",
  path: ({ user }) => `${SOCKET_IO}&${query({ user_id: user, display_name: user })}`,
  hear: (text) =>
    socketIo(text, (event) => {
      const [value] = event.type === "event" ? (event.values as Frame[]) : [];
      if (event.type !== "event" || !value) return [];
      switch (event.name) {
        case "connected":
          return [{ kind: "here", position: null, resumed: false, history: [] }];
        case "collab_event":
          return [{ kind: "line", seq: value.seq, text: value.data.position_id, position: null }];
        case "event_ack": {
          const counts: [number, number] = [value.delivered_to + value.queued, value.total_recipients];
          return [{ kind: "ack", id: value.id, seq: null, position: null, counts }];
        }
        default:
          return [{ kind: "other", type: event.name, frame: value }];
      }
    }),
  say: (id, text, { user, room }) =>
    io.emit("collab_event", {
      type: "position_shared",
      from_user: user,
      to_users: room.split(","),
      data: { position_id: text },
      id,
    }),
  ping: () => io.emit("ping", {}),
};
