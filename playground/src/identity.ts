// Who one is to the node. Without a token: an id of this tab, so that a second tab is a second person, and a name that
// the browser remembers. With one: whom the token names. An account is kept for the browser, a guest for the tab alone.

import { freshId, freshName } from "./place";
import type { Account } from "./rest";

const NAME = "collabd.name";
const USER = "collabd.user";
const TOKEN = "collabd.token";
const NAME_LENGTH = 128;

export interface Identity {
  user: string;
  name: string;
  /** `null`: the node is told the two above, and believes them. */
  token: string | null;
  guest: boolean;
}

interface Kept {
  token: string;
  user: string;
  name: string;
  guest: boolean;
}

export function identity(): Identity {
  const kept = keptToken();
  if (kept !== null) return kept;
  return { user: ownUser(), name: ownName(), token: null, guest: false };
}

export function rename(name: string): string {
  const chosen = name.trim().slice(0, NAME_LENGTH);
  if (chosen !== "") localStorage.setItem(NAME, chosen);
  return ownName();
}

export function signedIn({ access_token, user }: Account): void {
  const kept: Kept = { token: access_token, user: user.id, name: user.username, guest: user.guest };
  signedOut();
  (user.guest ? sessionStorage : localStorage).setItem(TOKEN, JSON.stringify(kept));
}

/** With a token that somebody was given, which says itself whose it is. Throws a sentence when it does not. */
export function signedInWith(token: string): void {
  const kept = { token: token.trim(), ...claims(token.trim()), guest: false };
  signedOut();
  sessionStorage.setItem(TOKEN, JSON.stringify(kept));
}

export function signedOut(): void {
  sessionStorage.removeItem(TOKEN);
  localStorage.removeItem(TOKEN);
}

/** What tells a door who one is. */
export function credentials({ user, name, token }: Identity): Record<string, string> {
  return token === null ? { user_id: user, username: name } : { token };
}

function keptToken(): Identity | null {
  // A guest of this tab goes before the browser's account.
  const kept = sessionStorage.getItem(TOKEN) ?? localStorage.getItem(TOKEN);
  return kept === null ? null : (JSON.parse(kept) as Kept);
}

function ownUser(): string {
  let user = sessionStorage.getItem(USER);
  if (user === null) {
    user = `tab-${freshId()}`;
    sessionStorage.setItem(USER, user);
  }
  return user;
}

function ownName(): string {
  let name = localStorage.getItem(NAME) ?? sessionStorage.getItem(NAME);
  if (name === null) {
    name = freshName();
    sessionStorage.setItem(NAME, name);
  }
  return name;
}

function claims(token: string): { user: string; name: string } {
  try {
    const payload = token.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    const { sub, name } = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof sub === "string" && sub !== "") return { user: sub, name: typeof name === "string" ? name : sub };
  } catch {
    // Said below, as for a token that names nobody.
  }
  throw new Error("This is not a token: three parts of letters with dots between them are expected.");
}
