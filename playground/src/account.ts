// Accounts of the node: guests, registered people, and how one becomes either.

import { signedIn, signedOut } from "./identity";
import { Problem, ask, type Account } from "./rest";

const TRIES = 4;

/** As the node takes user names: without spaces and `@`. */
export function userName(name: string): string {
  return (
    name
      .trim()
      .replace(/[\s@]+/g, "-")
      .slice(0, 56) || "guest"
  );
}

/** An account without a password, on an open node. Somebody else may have the name; then a number is put behind it. */
export async function beGuest(name: string): Promise<void> {
  const wanted = userName(name);
  for (let attempt = 1; ; attempt += 1) {
    const username = attempt === 1 ? wanted : `${wanted}-${Math.floor(Math.random() * 9_000) + 1_000}`;
    try {
      return signedIn(await ask<Account>("POST", "/api/auth/guest", { body: { username } }));
    } catch (problem) {
      const taken = problem instanceof Problem && problem.status === 409;
      if (!taken || attempt === TRIES) throw problem;
    }
  }
}

export async function logIn(name: string, password: string): Promise<void> {
  const who = name.includes("@") ? { email: name } : { username: name };
  signedIn(await ask<Account>("POST", "/api/auth/login", { body: { ...who, password } }));
}

export async function register(username: string, email: string, password: string): Promise<void> {
  await ask("POST", "/api/auth/register", { body: { username, email, password } });
  await logIn(username, password);
}

export async function logOut(token: string): Promise<void> {
  try {
    await ask("POST", "/api/auth/logout", { token });
  } catch (problem) {
    // One that has ended needs no revoking; whatever else is said, this browser forgets it.
    if (!(problem instanceof Problem)) throw problem;
  }
  signedOut();
}
