// The courier's door: backends that send each other events by Socket.IO, each to RECIPIENTS others.

import { index, live, run } from "../lib/crowd.ts";
import { courier } from "../lib/dialects.ts";
import { Mail } from "../lib/mail.ts";
import { calm } from "../lib/metrics.ts";
import { Person } from "../lib/person.ts";
import { setting, sizes } from "../lib/sizes.ts";

const size = sizes({ sockets: 100, rooms: 1, duration: 10, rate: 60, ramp: 2 });
const RECIPIENTS = setting("RECIPIENTS", 2);

export const options = {
  scenarios: { courier: { executor: "per-vu-iterations", vus: size.vus, iterations: 1, maxDuration: "2h" } },
  thresholds: { ...calm(size), checks: ["rate==1"] },
};

export default () => {
  const mail = new Mail();
  const people = Array.from({ length: size.sockets / size.vus }, (_, nth) => {
    const person = new Person({ user: `c-${run()}-${index()}-${nth}`, room: "", target: nth }, courier, mail);
    mail.has(person);
    return person;
  });
  return live(size, {
    people,
    ledgers: [mail],
    isComplete: () => people.every((person) => person.wasHere),
    speak: (turn) => {
      const nth = (number: number) => people[number % people.length]!;
      mail.send(nth(turn), Array.from({ length: RECIPIENTS }, (_, next) => nth(turn + 1 + next)));
    },
  });
};
