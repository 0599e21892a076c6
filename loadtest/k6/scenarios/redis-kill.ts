// Redis is killed while people chat, and started again. Sockets stay; what is said meanwhile is refused for now and
// said again; what was acknowledged is there afterwards.

import { live } from "../lib/crowd.ts";
import { allFinished, always, noneTorn, promptHandshake } from "../lib/metrics.ts";
import { rooms } from "../lib/rooms.ts";
import { sizes } from "../lib/sizes.ts";

const size = sizes({ sockets: 200, rooms: 20, duration: 120, rate: 60, ramp: 2 });

export const options = {
  scenarios: { "redis-kill": { executor: "per-vu-iterations", vus: size.vus, iterations: 1, maxDuration: "2h" } },
  // Left out: refusals, which are how a node says that it cannot save; and the tail of the fan-out, for all that people
  // wanted to say meanwhile is said at once when Redis is back.
  thresholds: {
    ...always(),
    ...promptHandshake,
    ...allFinished(size),
    ...noneTorn,
    fanout_ms: ["med<250"],
    // Nobody but the people themselves closes a socket.
    closes: [`count==${size.sockets}`],
  },
};

export default () => live(size, rooms(size));
