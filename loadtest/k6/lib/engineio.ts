// Engine.IO 4 over a WebSocket, and Socket.IO 5 in it, as far as JSON goes: one packet a frame, the main namespace, no
// binary attachments. Knows no socket.

/** A packet of Engine.IO. Over a WebSocket a frame is one. */
export type Packet =
  | { type: "open"; sid: string; pingInterval: number; pingTimeout: number }
  | { type: "close" | "upgrade" | "noop" }
  | { type: "ping" | "pong"; data: string }
  | { type: "message"; data: string };

/** A packet of Socket.IO, which is the data of a message. */
export type Event =
  | { type: "connect"; data: unknown }
  | { type: "disconnect" }
  | { type: "event"; name: string; values: unknown[]; id: number | null }
  | { type: "ack"; id: number; values: unknown[] }
  | { type: "refused"; data: unknown };

const PACKETS = ["open", "close", "ping", "pong", "message", "upgrade", "noop"] as const;

export function packet(frame: string): Packet {
  const type = PACKETS[Number(frame[0])];
  if (frame === "" || type === undefined) throw new Error(`'${frame.slice(0, 40)}' is no packet of Engine.IO`);
  const data = frame.slice(1);
  switch (type) {
    case "open":
      return { ...(JSON.parse(data) as { sid: string; pingInterval: number; pingTimeout: number }), type };
    case "ping":
    case "pong":
    case "message":
      return { type, data };
    default:
      return { type };
  }
}

export const pong = (data: string) => `3${data}`;

/** Reads `2["name",…]`, `27["name",…]`, `37[…]`, `0{…}`, `1` and `4{…}`. */
export function event(data: string): Event {
  const found = /^([0-6])(?:\/([^,]*),)?(\d*)([\s\S]*)$/.exec(data);
  if (!found) throw new Error(`'${data.slice(0, 40)}' is no packet of Socket.IO`);
  const [, type, namespace, id, json] = found;
  if (namespace) throw new Error(`a packet of the namespace /${namespace}, where nobody is`);
  if (type === "5" || type === "6") throw new Error("binary packets are not read here");
  const body: unknown = json ? JSON.parse(json) : undefined;
  switch (type) {
    case "0":
      return { type: "connect", data: body };
    case "1":
      return { type: "disconnect" };
    case "2": {
      const [name, ...values] = list(body);
      if (typeof name !== "string") throw new Error("an event without a name");
      return { type: "event", name, values, id: id ? Number(id) : null };
    }
    case "3":
      return { type: "ack", id: Number(id), values: list(body) };
    default:
      return { type: "refused", data: body };
  }
}

function list(body: unknown): unknown[] {
  if (!Array.isArray(body)) throw new Error("a packet without its list");
  return body;
}

/** The frame that enters the main namespace. */
export const connect = (auth?: object) => `40${auth ? JSON.stringify(auth) : ""}`;

/** The frame that leaves it. */
export const disconnect = "41";

/** The frame of an event; with an id it asks for an acknowledgement. */
export function emit(name: string, value: unknown, id?: number): string {
  return `42${id ?? ""}${JSON.stringify([name, value])}`;
}
