// Rooms of people who chat: the crowd of most scenarios. A room's members are in one virtual user, so that what one
// said can be looked for at the others; a run with one room for all shares it.

import type { Crowd } from "./crowd.ts";
import { index, run } from "./crowd.ts";
import { pairing, type Dialect } from "./dialects.ts";
import { Person } from "./person.ts";
import { Room } from "./room.ts";
import type { Sizes } from "./sizes.ts";

export interface Habits {
  dialect?: Dialect;
  /** Size of a message. */
  bytes?: number;
  /** How many members of a room speak, the first of them; all unless said. */
  speakers?: number;
  /** Names a room, for doors where it must be made first. */
  name?: (room: number) => string;
  token?: (user: string) => string;
}

export function rooms(size: Sizes, habits: Habits = {}): Crowd {
  const { dialect = pairing, bytes = 0, speakers = Infinity, name = (room) => `load-${run()}-${room}`, token } = habits;
  const people: Person[] = [];
  const ledgers: Room[] = [];
  const members: Person[][] = [];
  const own = Math.max(1, size.rooms / size.vus);
  const each = Math.floor(size.sockets / size.vus / own);
  for (let nth = 0; nth < own; nth += 1) {
    const place = name(size.rooms === 1 ? 0 : index() * own + nth);
    const room = new Room(bytes, dialect.door);
    const inside = Array.from({ length: each }, (_, member) => {
      const user = `u-${run()}-${index()}-${nth}-${member}`;
      const seat = { user, room: place, target: index() + nth + member, token: token?.(user) };
      const person = new Person(seat, dialect, room);
      room.has(person);
      return person;
    });
    ledgers.push(room);
    members.push(inside);
    people.push(...inside);
  }
  return {
    people,
    ledgers,
    isComplete: () => ledgers.every((room) => room.isComplete()),
    // Rooms in turn, and in each its speakers in turn.
    speak: (turn) => {
      const inside = members[turn % own]!;
      const speaker = Math.floor(turn / own) % Math.min(speakers, each);
      ledgers[turn % own]!.speak(inside[speaker]!);
    },
  };
}
