// A rolling restart under load: nodes are told to stop and replaced, one after the other, while people chat. Every
// socket is closed with 1012 and told when to come back; all come, say where they were, and lose nothing.

import { live } from "../lib/crowd.ts";
import { allFinished, always, noneTorn, promptFanout, promptHandshake } from "../lib/metrics.ts";
import { rooms } from "../lib/rooms.ts";
import { sizes } from "../lib/sizes.ts";

const size = sizes({ sockets: 300, rooms: 30, duration: 600, rate: 60, ramp: 2 });

export const options = {
  scenarios: { "rolling-restart": { executor: "per-vu-iterations", vus: size.vus, iterations: 1, maxDuration: "2h" } },
  // Left out: refusals. A node that closes its sockets may leave a command unanswered, which is said again.
  thresholds: {
    ...always(),
    ...promptHandshake,
    ...promptFanout(),
    ...allFinished(size),
    ...noneTorn,
    // Not one: a node that leaves says so to everybody.
    close_1006: ["rate==0"],
    back_in_window: ["rate==1"],
    resumed: ["rate==1"],
  },
};

export default () => live(size, rooms(size));
