// A virtual user's share of a run: its people come one after the other, talk at a steady pace until the stage is over,
// wait until everything is told, and are judged. The pace is that of the clock, whatever the nodes do.

import { setTimeout } from "k6/timers";
import exec from "k6/execution";
import { type Ledger, type Person } from "./person.ts";
import * as measure from "./metrics.ts";
import type { Sizes } from "./sizes.ts";
import { Stage } from "./stage.ts";

const TICK_MS = 50;
/** How long what was said last may take to be told. */
const SETTLE_MS = 20_000;
/** How often people ask where they are while they wait, and the accounts are looked through. */
const ASK_EVERY_MS = 250;

/** People, the accounts of where they are, and what each turn of talk is. */
export interface Crowd {
  people: Person[];
  ledgers: Ledger[];
  /** Whether talk may begin. */
  isComplete(): boolean;
  /** Somebody's turn to speak; the first is 0. */
  speak(turn: number): void;
}

export const pause = (milliseconds: number) =>
  new Promise<void>((resolve) => {
    setTimeout(resolve, milliseconds);
  });

/** Unique to this run, so that rooms of an earlier one are other rooms. */
export const run = () => Math.floor(exec.scenario.startTime).toString(36);

/** This virtual user, from 0. */
export const index = () => exec.vu.idInTest - 1;

export async function live(size: Sizes, crowd: Crowd): Promise<void> {
  const stage = new Stage(size.ramp + size.duration);
  const coming = [...crowd.people];
  // Its people come in turn with those of the others.
  const step = (size.ramp * 1000) / Math.max(size.sockets, 1);
  const isDue = (now: number) => {
    const nth = (crowd.people.length - coming.length) * size.vus + index();
    return now - exec.scenario.startTime >= nth * step;
  };

  const pace = new Pace(size.rate / size.vus);
  let turn = 0;
  for (let now = Date.now(); !stage.over(now); now = await tick(crowd)) {
    while (coming.length > 0 && isDue(now)) coming.shift()!.come();
    if (coming.length === 0 && crowd.isComplete()) {
      for (let due = pace.due(now); due > 0; due -= 1) crowd.speak(turn++);
    }
  }
  await settle(crowd);
  end(crowd);
}

/** A moment in which everybody does what is due; returns the time. */
export async function tick({ people }: Pick<Crowd, "people">): Promise<number> {
  const due = Date.now() + TICK_MS;
  await pause(TICK_MS);
  const now = Date.now();
  measure.late.add(Math.max(0, now - due));
  for (const person of people) person.tick(now);
  return now;
}

/** Until everybody is in, everything answered and everything told, or it has been waited for long enough. */
export async function settle(crowd: Pick<Crowd, "people" | "ledgers">): Promise<void> {
  const end = Date.now() + SETTLE_MS;
  let next = 0;
  for (let now = Date.now(); now < end; now = await tick(crowd)) {
    if (now < next) continue;
    next = now + ASK_EVERY_MS;
    const isDone = crowd.people.every(({ isHere, commands }) => isHere && commands.size === 0);
    if (isDone && crowd.ledgers.every((ledger) => ledger.isSettled())) return;
    for (const person of crowd.people) person.ping(now);
  }
}

/** Says what is missing, and sends everybody home. */
export function end({ people, ledgers }: Pick<Crowd, "people" | "ledgers">): void {
  for (const ledger of ledgers) ledger.judge();
  for (const person of people) {
    person.judge();
    person.leave();
  }
}

/** How many are due: a rate a second since the first time it was asked. */
export class Pace {
  private began: number | null = null;
  private given = 0;

  constructor(private rate: number) {}

  due(now: number): number {
    this.began ??= now;
    const due = Math.floor(((now - this.began) / 1000) * this.rate) - this.given;
    this.given += due;
    return due;
  }
}
