// A slow consumer: a room with long messages, in which some sit who do not read. These are the driver's (`run.py`), for
// a script has no way to leave a socket unread; here are the others, who must not notice. The room's name is ROOM.

import { live } from "../lib/crowd.ts";
import { calm } from "../lib/metrics.ts";
import { rooms } from "../lib/rooms.ts";
import { setting, sizes } from "../lib/sizes.ts";

const size = sizes({ sockets: 20, rooms: 1, duration: 60, rate: 60, ramp: 1 });
const BYTES = setting("BYTES", 8000);

export const options = {
  scenarios: { "slow-consumer": { executor: "per-vu-iterations", vus: size.vus, iterations: 1, maxDuration: "2h" } },
  thresholds: calm(size),
};

export default () => live(size, rooms(size, { bytes: BYTES, ...(__ENV.ROOM ? { name: () => __ENV.ROOM! } : {}) }));
