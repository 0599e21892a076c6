// Who is in the session, of what two doors say: the members that the node tells of, and who is present in the text. One
// row a user, whoever they come through; somebody else's Yjs editor that says no user id has a row of its own.

import { safeColour } from "./colours";
import type { Member } from "./doors/talk";
import type { Presence } from "./presence";
import type { Role } from "./rest";

export interface Person {
  /** The user id, or the client in the document for who has none. */
  key: string;
  name: string;
  colour: string;
  own: boolean;
  role: Role | null;
  status: string | null;
  /** The client in the document whose caret can be gone to. */
  client: number | null;
}

export interface Awake {
  client: number;
  presence: Presence;
  hasCaret: boolean;
}

export function people(
  members: Iterable<Member>,
  awake: Iterable<Awake>,
  own: { id: string; client: number },
): Person[] {
  const rows = new Map<string, Person>();
  for (const { id, name, role, status } of members) {
    rows.set(id, { key: id, name, colour: safeColour(null, id), own: id === own.id, role, status, client: null });
  }
  for (const { client, presence, hasCaret } of awake) {
    const key = presence.id ?? `client ${client}`;
    const row = rows.get(key) ?? {
      key,
      name: "Somebody",
      colour: "",
      own: key === own.id,
      role: null,
      status: null,
      client: null,
    };
    // Where there are roles a name is the account's; elsewhere it is what its bearer says, at once.
    if (row.role === null && presence.name !== null) row.name = presence.name;
    row.colour = safeColour(presence.colour, key);
    if (hasCaret && client !== own.client) row.client ??= client;
    rows.set(key, row);
  }
  return [...rows.values()].sort(
    (a, b) => Number(b.own) - Number(a.own) || a.name.localeCompare(b.name, "en") || (a.key < b.key ? -1 : 1),
  );
}
