// The code rooms' door: Socket.IO over a WebSocket. One in each room types, the others see it.

import { index, live, run } from "../lib/crowd.ts";
import { codeRoom } from "../lib/dialects.ts";
import { calm } from "../lib/metrics.ts";
import { Person } from "../lib/person.ts";
import { setting, sizes } from "../lib/sizes.ts";
import { Texts } from "../lib/texts.ts";

const size = sizes({ sockets: 100, rooms: 20, duration: 10, rate: 40, ramp: 2 });
const BYTES = setting("BYTES", 2000);

export const options = {
  scenarios: { "code-rooms": { executor: "per-vu-iterations", vus: size.vus, iterations: 1, maxDuration: "2h" } },
  // delivery_ratio is of the last text of each room: those before it may be left out. gaps is of no use without places.
  thresholds: calm(size),
};

export default () => {
  const own = size.rooms / size.vus;
  const each = size.sockets / size.rooms;
  const rooms = Array.from({ length: own }, (_, nth) => {
    const room = `code-${run()}-${index()}-${nth}`;
    const seats = Array.from({ length: each }, (_, member) => ({ user: `${room}-${member}`, room, target: member }));
    const texts = new Texts(seats[0]!, BYTES, codeRoom.door);
    const people = seats.map((seat) => new Person(seat, codeRoom, texts));
    for (const person of people) texts.has(person);
    return { texts, people };
  });
  const people = rooms.flatMap((room) => room.people);
  return live(size, {
    people,
    ledgers: rooms.map(({ texts }) => texts),
    isComplete: () => people.every((person) => person.wasHere),
    speak: (turn) => {
      const { texts, people } = rooms[turn % own]!;
      texts.type(people[0]!);
    },
  });
};
