// Where the page is: the session in the address, which is all that a link to it needs.

/** Makes a session of its own. */
export const FRESH = "/playground";

const WORDS = [
  "amber basalt birch bronze cedar cobalt copper coral dusky fern flint golden hazel indigo ivory juniper lunar mossy",
  "auk badger crane dipper egret falcon finch gannet heron ibis kestrel lapwing marten newt otter plover quail raven siskin",
].map((line) => line.split(" ")) as [string[], string[]];
/** As the node takes them. */
const ID = /^(?!\.+$)[A-Za-z0-9._:@|-]{1,128}$/;
/** Ids of recorded sessions, which admit only who shows a token. */
const RECORDED = /^r-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function sessionIn(search: string): string | null {
  const session = new URLSearchParams(search).get("session");
  return session === null || session === "" ? null : session;
}

export function isSession(id: string): boolean {
  return ID.test(id);
}

export function isRecorded(session: string): boolean {
  return RECORDED.test(session);
}

/** Where a session is on this node, for whoever gets the link. */
export function linkTo(session: string, origin: string): string {
  return `${origin}${FRESH}?session=${encodeURIComponent(session)}`;
}

export function freshSession(): string {
  return `${pick(WORDS[0])}-${pick(WORDS[1])}-${pick(1_000_000).toString().padStart(6, "0")}`;
}

export function freshName(): string {
  return [capital(pick(WORDS[0])), capital(pick(WORDS[1]))].join(" ");
}

export function freshId(): string {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function pick(among: number): number;
function pick(among: string[]): string;
function pick(among: number | string[]): number | string {
  const count = typeof among === "number" ? among : among.length;
  const number = crypto.getRandomValues(new Uint32Array(1))[0]! % count;
  return typeof among === "number" ? number : among[number]!;
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
