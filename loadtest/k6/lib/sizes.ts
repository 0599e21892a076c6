// How large a run is, out of the environment: VUS, SOCKETS, ROOMS, DURATION, RATE and RAMP; and where it goes: URL, or
// NODES for sockets that are spread over nodes without a balancer, so that everybody knows whose node is whose.

export interface Sizes {
  /** Virtual users; each holds its share of the sockets. */
  vus: number;
  sockets: number;
  rooms: number;
  /** Of chat, once everybody is here, unless the driver ends it (CONTROL). Seconds. */
  duration: number;
  /** Messages a second, of all rooms together. */
  rate: number;
  /** Over how many seconds sockets come. */
  ramp: number;
}

/** More of them in one virtual user would wait for each other. */
const SOCKETS_PER_VU = 100;

export function setting(name: string, otherwise: number): number {
  const text = __ENV[name];
  if (text === undefined || text === "") return otherwise;
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new Error(`${name}=${text}: right is a number of 0 or more`);
  return value;
}

/** What is not in the environment is as given. Rooms and sockets are shared out evenly, or it is refused. */
export function sizes(given: Omit<Sizes, "vus">): Sizes {
  const sockets = setting("SOCKETS", given.sockets);
  const vus = setting("VUS", Math.ceil(sockets / SOCKETS_PER_VU));
  const rooms = setting("ROOMS", given.rooms);
  if (sockets % vus !== 0) throw new Error(`SOCKETS=${sockets} cannot be shared out among VUS=${vus}`);
  if (rooms > 1 && (rooms % vus !== 0 || sockets % rooms !== 0)) {
    const right = `a multiple of VUS=${vus} that divides SOCKETS=${sockets}, or 1`;
    throw new Error(`ROOMS=${rooms} cannot be shared out: right is ${right}`);
  }
  return {
    vus,
    sockets,
    rooms,
    duration: setting("DURATION", given.duration),
    rate: setting("RATE", given.rate),
    ramp: setting("RAMP", given.ramp),
  };
}

const list = (text: string | undefined) => (text ?? "").split(",").filter((word) => word !== "");

/** http://host:port of the balancer, or of each node. */
export const TARGETS: string[] = __ENV.NODES
  ? list(__ENV.NODES).map((address) => `http://${address}`)
  : [__ENV.URL || "http://127.0.0.1:8004"];

/** Where requests go. */
export const BASE = __ENV.URL || TARGETS[0]!;

/** Whether a socket knows which node it is at. */
export const KNOWS_NODES = TARGETS.length > 1;

export function target(index: number): string {
  return TARGETS[index % TARGETS.length]!;
}
