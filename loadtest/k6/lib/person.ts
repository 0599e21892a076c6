// Somebody at a door who behaves as clients should: comes back after whatever may be come back from, when it was asked
// to or after a jittered and growing wait, says where it was, and says again under the same id what was not answered.
//
// A person lives by its sockets and by `tick`, which its owner calls some ten times a second.

import { setTimeout } from "k6/timers";
import type { Dialect, Frame, Line, Said, Whence } from "./dialects.ts";
import * as measure from "./metrics.ts";
import { KNOWS_NODES, setting, target } from "./sizes.ts";
import { LOST, SILENT, Socket, type End } from "./socket.ts";

/** How a person closes a socket that it drops; a node takes anything but 1000 and 1001 for an accident. */
const DROPPED = 3001;
/** Ends after which one may come back. */
const MAY_RETURN = [1001, LOST, 1011, 1012, 1013, DROPPED, 4408, 4429, 4503, SILENT];
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 2000;
/** A command that nobody answered for so long is said again. */
const ANSWER_PATIENCE_MS = 5000;
/** Wait before a refused command is said again, when the refusal does not say. */
const RETRY_MS = 500;
const PING_EVERY_MS = 10_000;
/** A socket that leaves a ping, or its handshake, unanswered for so long is dead. */
const SILENCE_MS = 10_000;
/** Who was told to come back after n ms is to be in by n + SLACK: its handshake, its place, and what it missed. */
export const SLACK_MS = setting("SLACK", 2000);

/** What becomes of what a person hears. */
export interface Ledger {
  /** A socket begins; what comes first may be told again. */
  connects(person: Person): void;
  here(person: Person, said: Extract<Said, { kind: "here" }>): void;
  /** `isLive`: told as it happened, not because one was away. */
  line(person: Person, line: Line, isLive: boolean): void;
  written(person: Person, id: string): void;
  acked(person: Person, id: string, seq: number | null, counts?: [number, number]): void;
  /** Everything that could be told has been. */
  isSettled(): boolean;
  /** Counts what is missing, at the end. */
  judge(): void;
  other?(person: Person, type: string, frame: Frame): void;
}

interface Command {
  text: string;
  /** Of the first write; null until then. */
  written: number | null;
  due: number;
}

export interface Seat {
  user: string;
  room: string;
  token?: string;
  /** Which of TARGETS it goes to. */
  target: number;
}

export class Person {
  /** The door has let the present socket in. */
  isHere = false;
  /** Some socket was let in. */
  wasHere = false;
  position: string | null = null;
  readonly commands = new Map<string, Command>();
  private socket: Socket | null = null;
  private isOver = false;
  private tries = 0;
  private began = 0;
  private nextPing = 0;
  /** When the oldest thing was said, since one last heard something, that wants an answer. */
  private asked: number | null = null;
  private pings = 0;
  private away: { since: number; retryInMs: number | null } | null = null;

  constructor(
    readonly seat: Seat,
    readonly dialect: Dialect,
    private ledger: Ledger,
  ) {}

  come(): void {
    if (this.isOver || this.socket) return;
    const base = target(this.seat.target).replace(/^http/, "ws");
    this.began = Date.now();
    this.asked = this.began;
    this.ledger.connects(this);
    this.socket = new Socket(base + this.dialect.path(this.whence()), this.dialect.door, {
      opened: () => {},
      text: (text) => this.hear(text),
      ended: (end) => this.ended(end),
    });
  }

  /** Closes politely, for good. */
  leave(): void {
    this.isOver = true;
    this.socket?.close();
  }

  /** Drops its socket as if by accident, and comes back. */
  drop(): void {
    this.socket?.close(DROPPED);
  }

  /** Says something, now or as soon as it is in; `to` where it is not for all of a room. */
  say(id: string, text: string, to = this.seat.room): void {
    const frame = this.dialect.say(id, text, { ...this.whence(), room: to });
    this.commands.set(id, { text: frame, written: null, due: 0 });
    if (this.isHere) this.write(id, Date.now());
  }

  /** Says something that nobody answers; not at all while it is away. */
  tell(frame: object): void {
    if (this.isHere) this.socket?.send(JSON.stringify(frame));
  }

  tick(now: number): void {
    if (this.asked !== null && now - this.asked > SILENCE_MS) {
      this.socket?.abandon();
      return;
    }
    if (!this.isHere) return;
    for (const [id, { due }] of this.commands) {
      if (now >= due) this.write(id, now);
    }
    if (now >= this.nextPing) this.ping(now);
  }

  /** Asks where it is. */
  ping(now: number): void {
    if (!this.isHere) return;
    this.nextPing = now + PING_EVERY_MS;
    this.asked ??= now;
    this.pings += 1;
    this.socket?.send(this.dialect.ping(`ping-${this.pings}`));
  }

  /** At the end: what it waits for in vain. */
  judge(): void {
    measure.absent.add(this.isHere ? 0 : 1);
    measure.unanswered.add(this.commands.size);
    if (this.away !== null && this.away.retryInMs !== null) measure.backInWindow.add(false);
  }

  private write(id: string, now: number): void {
    const command = this.commands.get(id)!;
    command.written ??= now;
    command.due = now + ANSWER_PATIENCE_MS;
    this.asked ??= now;
    this.ledger.written(this, id);
    this.socket?.send(command.text);
  }

  private whence(): Whence {
    const { user, room, token } = this.seat;
    return { user, room, token: token ?? null, since: this.wasHere ? this.position : null };
  }

  private hear(text: string): void {
    this.asked = null;
    for (const said of this.dialect.hear(text, this.whence())) this.take(said);
  }

  private take(said: Said): void {
    switch (said.kind) {
      case "answer":
        this.socket?.send(said.text);
        break;
      case "here":
        this.arrived(said);
        break;
      case "line":
        this.position = said.position ?? this.position;
        this.ledger.line(this, said, this.isHere);
        break;
      case "ack":
        this.position = said.position ?? this.position;
        this.answered(said);
        break;
      case "position":
        this.position = said.position ?? this.position;
        break;
      case "refused":
        this.refused(said);
        break;
      case "other":
        this.ledger.other?.(this, said.type, said.frame);
        break;
    }
  }

  private arrived(said: Extract<Said, { kind: "here" }>): void {
    const now = Date.now();
    measure.entered.add(now - this.began, { door: this.dialect.door });
    if (this.away) {
      const { since, retryInMs } = this.away;
      const took = now - since - (retryInMs ?? 0);
      measure.back.add(took);
      if (retryInMs !== null) measure.backInWindow.add(took <= SLACK_MS);
      // Doors without a position tell all anew.
      if (this.position !== null) measure.resumed.add(said.resumed);
      this.away = null;
    }
    this.position = said.position ?? this.position;
    this.isHere = true;
    this.wasHere = true;
    this.tries = 0;
    this.nextPing = now + PING_EVERY_MS * Math.random();
    this.ledger.here(this, said);
    for (const id of this.commands.keys()) this.write(id, now);
  }

  private answered({ id, seq, counts }: Extract<Said, { kind: "ack" }>): void {
    const command = this.commands.get(id);
    if (!command) return;
    this.commands.delete(id);
    measure.commands.add(1);
    if (command.written !== null) measure.acknowledged.add(Date.now() - command.written);
    this.ledger.acked(this, id, seq, counts);
  }

  private refused({ code, message, id, retryInMs }: Extract<Said, { kind: "refused" }>): void {
    const command = id === null ? undefined : this.commands.get(id);
    const isForNow = ["backplane_unavailable", "records_unavailable", "rate_limited"].includes(code);
    if (isForNow) {
      measure.refusals.add(1, { code });
      // Not with everybody else who was told the same.
      const wait = (retryInMs ?? RETRY_MS) * (1 + 0.3 * Math.random());
      if (command) command.due = Date.now() + wait;
      // Entering was refused: there is no command of ours to be said again, so the socket begins anew.
      else if (!this.isHere) this.drop();
      return;
    }
    measure.turnedAway.add(1, { code });
    console.error(`${this.dialect.door}: ${this.seat.user} was told ${code}: ${message}`);
    if (id !== null) this.commands.delete(id);
  }

  private ended({ code, retryInMs, opened }: End): void {
    this.socket = null;
    this.asked = null;
    const wasIn = this.isHere;
    this.isHere = false;
    if (opened) {
      measure.closes.add(1, { code: String(code) });
      measure.lostSockets.add(code === LOST);
    }
    measure.silences.add(code === SILENT ? 1 : 0);
    if (this.isOver) return;
    if (!MAY_RETURN.includes(code)) {
      measure.turnedAway.add(1, { code: String(code) });
      console.error(`${this.dialect.door}: ${this.seat.user} was closed with ${code}, which means: not as you are`);
      this.isOver = true;
      return;
    }
    if (wasIn || (opened && retryInMs !== null)) this.away ??= { since: Date.now(), retryInMs };
    // Nodes that are known are taken in turn; a balancer knows better.
    if (KNOWS_NODES) this.seat.target += 1;
    setTimeout(() => this.come(), retryInMs ?? this.wait());
  }

  private wait(): number {
    const wait = Math.min(FIRST_WAIT_MS * 2 ** Math.min(this.tries, 10), LONGEST_WAIT_MS);
    this.tries += 1;
    return wait * (0.5 + Math.random());
  }
}
