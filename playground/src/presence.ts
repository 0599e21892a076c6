// What others say of themselves in awareness. Anybody may write anything there, so only texts of a sane length come
// out.

export interface Presence {
  /** The user id, where a client says one. */
  id: string | null;
  name: string | null;
  colour: string | null;
}

const LENGTH = 128;

export function presenceIn(state: unknown): Presence {
  const user = part(part(state)?.user) ?? {};
  return { id: text(user.id), name: text(user.name), colour: text(user.color) };
}

function part(value: unknown): Record<string, unknown> | null {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value.slice(0, LENGTH) : null;
}
