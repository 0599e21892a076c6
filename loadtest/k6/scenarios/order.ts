// Order and gaps: small rooms that talk fast, whose members keep losing their sockets and come back with the place
// where they were. Everybody must be told the same, in the same order, without a hole and without a repetition.

import { live } from "../lib/crowd.ts";
import { allFinished, always, promptFanout, promptHandshake } from "../lib/metrics.ts";
import { rooms } from "../lib/rooms.ts";
import { setting, sizes } from "../lib/sizes.ts";

const size = sizes({ sockets: 60, rooms: 6, duration: 12, rate: 150, ramp: 1 });
/** Somebody drops a socket with every so many messages. */
const DROP_EVERY = setting("DROP_EVERY", 10);

export const options = {
  scenarios: { order: { executor: "per-vu-iterations", vus: size.vus, iterations: 1, maxDuration: "2h" } },
  // Left out: refusals, for a command may be on its way when its socket is dropped.
  thresholds: {
    ...always(),
    ...promptHandshake,
    ...promptFanout(),
    ...allFinished(size),
    close_1006: ["rate<0.001"],
    resumed: ["rate==1"],
  },
};

export default () => {
  const crowd = rooms(size);
  return live(size, {
    ...crowd,
    speak: (turn) => {
      crowd.speak(turn);
      const unlucky = crowd.people[Math.floor(Math.random() * crowd.people.length)]!;
      if (turn % DROP_EVERY === 0) unlucky.drop();
    },
  });
};
