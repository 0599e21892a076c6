// The page: finds out which session it is about and what the node wants to know, then opens it.

import "./style/base.css";
import "./style/layout.css";
import "./style/parts.css";
import { copyText } from "./clipboard";
import { Cluster, type Status } from "./cluster";
import { part } from "./dom";
import { identity, signedOut, type Identity } from "./identity";
import { freshSession, isRecorded, isSession, linkTo, sessionIn } from "./place";
import { Problem, ask } from "./rest";
import { Room } from "./room";
import { ClusterStrip } from "./view/cluster";
import { showLight } from "./view/light";
import { notice, speak } from "./view/notices";
import { askToRecord } from "./view/record";
import { askWho, showAccount } from "./view/sign-in";
import { offerThemes } from "./view/theme";

const COPIED_MS = 2_000;
const RETRY_MS = 2_000;

interface Known {
  me: Identity;
  /** Whether it lets in who only says a name. */
  open: boolean;
  /** Whether it can record. */
  records: boolean;
}

offerThemes();
const session = place();
offerLink(session);
part("skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.querySelector<HTMLElement>(".cm-content")?.focus();
});
void begin(session);

/** The session of the address; a fresh one, put there, when there is none. */
function place(): string {
  const given = sessionIn(location.search);
  const session = given ?? freshSession();
  if (given === null) history.replaceState(null, "", linkTo(session, location.origin));
  part("session").textContent = session;
  part("session").title = session;
  document.title = `${session} · collabd playground`;
  return session;
}

async function begin(session: string): Promise<void> {
  if (!isSession(session)) return refuse("This is no session id: 1 to 128 letters, digits and . _ : @ | - make one.");
  const { me, open, records } = await meet();
  const recorded = isRecorded(session);
  new ClusterStrip(new Cluster(me.token));
  const ask = (needed: string | null) => askWho({ me, open, needed });
  const account = part("account");
  account.hidden = open && !records && me.token === null;
  account.textContent = me.token === null ? "Sign in…" : me.name;
  account.addEventListener("click", () => (me.token === null ? ask(null) : showAccount(me)));
  part("recorded").hidden = !recorded;
  if (me.token === null && (recorded || !open)) {
    showLight({ state: "refused", closing: { verdict: "identity", sentence: "Not signed in." } });
    return ask(
      recorded
        ? "This session is recorded: it admits those who say who they are."
        : "This node admits those who have a token.",
    );
  }
  const room = new Room({ session, recorded, me, plain: recorded ? null : hint(records), askWho: () => ask(null) });
  const record = part("record");
  record.hidden = recorded || !records;
  record.addEventListener("click", () => askToRecord({ text: room.text, language: room.language }));
}

/** Asks the node until it answers; without it there is nothing to show. */
async function meet(): Promise<Known> {
  for (;;) {
    const me = identity();
    try {
      const status = await ask<Status>("GET", "/status", { token: me.token });
      return { me, open: me.token === null || (await opens()), records: status.database === "healthy" };
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.status === 401 && me.token === null) return { me, open: false, records: true };
      if (problem.status === 401) {
        signedOut();
        notice("token", "Your token has ended: you are signed out.");
        continue;
      }
      showLight({ state: "offline", unsaved: 0 });
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

async function opens(): Promise<boolean> {
  try {
    await ask("GET", "/status");
    return true;
  } catch (problem) {
    if (problem instanceof Problem && problem.status === 401) return false;
    throw problem;
  }
}

function hint(records: boolean): string {
  return records
    ? "Threads, reactions, roles and replay are in recorded sessions: press Record."
    : "Threads, reactions, roles and replay need a node with a database.";
}

function refuse(sentence: string): void {
  showLight({ state: "refused", closing: { verdict: "stop", sentence } });
}

function offerLink(session: string): void {
  part<HTMLAnchorElement>("frames").href = `/pairing.html?${new URLSearchParams({ session })}`;
  const button = part("copy");
  const label = button.textContent;
  button.addEventListener("click", async () => {
    await copyText(linkTo(session, location.origin));
    button.textContent = "Copied";
    speak("The link is copied.");
    setTimeout(() => (button.textContent = label), COPIED_MS);
  });
}
