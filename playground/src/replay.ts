// A recorded session as steps that can be gone through: every version of its text that the node can tell, who made it
// and when. Of what is in the replay's own lines nothing more is asked. Knows no page.

export interface Step {
  version: number;
  /** What is `null` the node is asked for when the step is shown. */
  at: string | null;
  user: string | null;
  code: string | null;
}

export interface Timeline {
  steps: Step[];
  /** Users' names by their ids, as far as the replay says them. */
  names: Map<string, string>;
}

const SHORTEST_MS = 120;
const LONGEST_MS = 1_200;
/** In how many steps everything is played at most; the slider has them all. */
const PLAYED = 300;

/**
 * Of the lines of the replay, one JSON object each, and the version that the text has now. `latest` is `null` where the
 * node tells no single versions: then the steps are those of the lines.
 */
export function timeline(lines: string, latest: number | null): Timeline {
  const names = new Map<string, string>();
  const told = new Map<number, Step>();
  for (const line of lines.split("\n")) {
    if (line.trim() === "") continue;
    const frame = JSON.parse(line) as Record<string, unknown>;
    const user = frame.user as { user_id: string; username: string } | undefined;
    if (user !== undefined) names.set(user.user_id, user.username);
    if (frame.type === "code_update") told.set(Number(frame.version), step(frame));
  }
  for (let version = 1; version <= (latest ?? 0); version += 1) {
    if (!told.has(version)) told.set(version, { version, at: null, user: null, code: null });
  }
  return { steps: [...told.values()].sort((a, b) => a.version - b.version), names };
}

/** How many steps further the next one is that is played. */
export function stride(steps: number): number {
  return Math.max(1, Math.ceil(steps / PLAYED));
}

/** How long a step is shown before the next: as long as it was, within bounds, so that a night passes in a moment. */
export function pause(step: Step, next: Step): number {
  const lasted = step.at === null || next.at === null ? 0 : Date.parse(next.at) - Date.parse(step.at);
  return Math.min(Math.max(lasted, SHORTEST_MS), LONGEST_MS);
}

function step(frame: Record<string, unknown>): Step {
  return {
    version: Number(frame.version),
    at: String(frame.timestamp),
    user: String(frame.user_id),
    code: typeof frame.code === "string" ? frame.code : null,
  };
}
