// Room churn: so many times a second (RATE) two people meet in a room that was not there before, each says a line, and
// both leave. Nothing waits for anything else: a visit that cannot begin at its time, because too many are still going
// on, is a dropped iteration.

import exec from "k6/execution";
import { end, run, settle, tick } from "../lib/crowd.ts";
import { pairing } from "../lib/dialects.ts";
import { always, noneRefused, noneTorn, promptFanout, promptHandshake } from "../lib/metrics.ts";
import { Person } from "../lib/person.ts";
import { Room } from "../lib/room.ts";
import { setting } from "../lib/sizes.ts";

const RATE = setting("RATE", 10);
const DURATION = setting("DURATION", 10);
/** A visit takes a tenth of a second where nothing is slow. */
const VUS = setting("VUS", RATE * 2);
const PATIENCE_MS = 10_000;

export const options = {
  scenarios: {
    "room-churn": {
      executor: "constant-arrival-rate",
      rate: RATE,
      timeUnit: "1s",
      duration: `${DURATION}s`,
      preAllocatedVUs: VUS,
      maxVUs: VUS,
    },
  },
  // How many iterations there are is not known before: those that began late or not at all are counted instead.
  thresholds: {
    ...always(),
    ...promptHandshake,
    ...noneTorn,
    ...promptFanout(),
    ...noneRefused,
    enter_ms: ["p(95)<1000"],
  },
};

export default async () => {
  const visit = `${run()}-${exec.vu.idInTest}-${exec.vu.iterationInScenario}`;
  const room = new Room(0, pairing.door);
  const people = [0, 1].map((nth) => {
    const seat = { user: `v-${visit}-${nth}`, room: `visit-${visit}`, target: exec.vu.idInTest + nth };
    return new Person(seat, pairing, room);
  });
  for (const person of people) {
    room.has(person);
    person.come();
  }
  const until = Date.now() + PATIENCE_MS;
  while (!room.isComplete() && (await tick({ people })) < until);
  for (const person of people) room.speak(person);
  await settle({ people, ledgers: [room] });
  end({ people, ledgers: [room] });
};
