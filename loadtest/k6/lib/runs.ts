// An agent at work in a workspace, and what the workspace's members are told of it: each start and each end once, and
// the last word of its progress before the end. What is in between may be left out.

import { workspace, type Dialect, type Frame } from "./dialects.ts";
import * as measure from "./metrics.ts";
import type { Ledger, Person } from "./person.ts";

/** Words of a run: its start, progress, its end. */
const STEPS = 20;

/** The door as an agent uses it: its commands are frames made elsewhere. */
export const agents: Dialect = {
  ...workspace,
  door: "agents",
  path: ({ user }) => `/ws/agents?user_id=${encodeURIComponent(user)}`,
  hear(text, whence) {
    if (JSON.parse(text).type === "connected") return [{ kind: "here", position: null, resumed: false, history: [] }];
    return workspace.hear(text, whence);
  },
  say: (id, text) => JSON.stringify({ ...JSON.parse(text), id }),
};

interface Run {
  isStarted: boolean;
  isEnded: boolean;
  /** What each member was told of it. */
  told: Map<Person, { starts: number; ends: number; progress: number }>;
}

export class Runs implements Ledger {
  private step = 0;
  private runs: Run[] = [];
  private byRunId = new Map<string, Run>();

  constructor(
    private workspace: string,
    private members: Person[],
  ) {}

  /** The agent's next word. */
  work(agent: Person): void {
    const at = this.step % STEPS;
    const number = Math.floor(this.step / STEPS);
    const { user } = agent.seat;
    const data = { agent_id: user };
    this.step += 1;
    if (at === 0) {
      this.runs.push({ isStarted: false, isEnded: false, told: new Map() });
      const start = { ...data, task: String(number), user_id: user, workspace_id: this.workspace };
      agent.say(`start-${number}`, JSON.stringify({ type: "agent_execution_start", data: start }));
    } else if (at < STEPS - 1) {
      agent.tell({ type: "agent_execution_update", data: { ...data, progress: at } });
    } else {
      const end = { ...data, status: "completed", result: number };
      agent.say(`end-${number}`, JSON.stringify({ type: "agent_execution_complete", data: end }));
    }
  }

  connects(): void {}

  here(): void {}

  line(): void {}

  written(): void {}

  acked(_: Person, id: string): void {
    const [word, number] = id.split("-");
    const run = this.runs[Number(number)]!;
    if (word === "start") run.isStarted = true;
    else run.isEnded = true;
  }

  /** What a member of the workspace is told. */
  hear(member: Person, type: string, { data }: Frame): void {
    if (type === "agent_execution_start") {
      const run = this.runs[Number(data.task)];
      if (!run) return;
      this.byRunId.set(data.run_id, run);
      this.told(run, member).starts += 1;
    } else if (type === "agent_execution_update") {
      const run = this.runs[this.runs.length - 1];
      if (run && !run.isEnded) this.told(run, member).progress = data.progress;
    } else if (type === "agent_execution_complete") {
      const run = this.byRunId.get(data.run_id);
      if (!run) return;
      const told = this.told(run, member);
      told.ends += 1;
      if (told.progress !== STEPS - 2) measure.lost.add(1);
    }
  }

  isSettled(): boolean {
    return this.missing() === 0;
  }

  judge(): void {
    const missing = this.missing();
    measure.lost.add(missing);
    for (let told = 0; told < missing; told += 1) measure.delivered.add(false);
    measure.delivered.add(this.runs.some((run) => run.isEnded));
    for (const { told } of this.runs) {
      for (const { starts, ends } of told.values()) {
        measure.doubled.add(Math.max(0, starts - 1) + Math.max(0, ends - 1));
      }
    }
  }

  private missing(): number {
    let missing = 0;
    for (const run of this.runs) {
      for (const member of this.members) {
        const { starts, ends } = this.told(run, member);
        missing += (run.isStarted && starts === 0 ? 1 : 0) + (run.isEnded && ends === 0 ? 1 : 0);
      }
    }
    return missing;
  }

  private told(run: Run, member: Person): { starts: number; ends: number; progress: number } {
    let told = run.told.get(member);
    if (!told) {
      told = { starts: 0, ends: 0, progress: 0 };
      run.told.set(member, told);
    }
    return told;
  }
}
