// Asks the node by REST, and turns its problems into sentences that are shown.

export interface Account {
  access_token: string;
  user: { id: string; username: string; guest: boolean };
}

export type Role = "host" | "editor" | "viewer" | "banned";

export interface Recorded {
  id: string;
  title: string;
  language: string;
  default_role: Role;
  owner: { user_id: string; username: string };
  role: Role;
}

export class Problem extends Error {
  constructor(
    /** 0: the node did not answer at all. */
    readonly status: number,
    readonly code: string,
    sentence: string,
  ) {
    super(sentence);
  }
}

export async function ask<Answer>(
  method: string,
  path: string,
  { token, body }: { token?: string | null; body?: unknown } = {},
): Promise<Answer> {
  const answer = await request(method, path, token, body);
  return answer.status === 204 ? (undefined as Answer) : ((await answer.json()) as Answer);
}

/** The answer as it comes; a problem is thrown. */
export async function request(method: string, path: string, token?: string | null, body?: unknown): Promise<Response> {
  const headers: Record<string, string> = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const options: RequestInit = { method, headers };
  if (body !== undefined) options.body = JSON.stringify(body);
  let answer: Response;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Problem(0, "unreachable", "The node does not answer.");
  }
  if (!answer.ok) throw await problem(answer);
  return answer;
}

async function problem(answer: Response): Promise<Problem> {
  const plain = `The node answered ${answer.status}.`;
  try {
    const { code, detail, title } = await answer.json();
    return new Problem(answer.status, String(code ?? ""), capital(String(detail ?? title ?? plain)));
  } catch {
    // A proxy's own page, perhaps: the status is all there is to say.
    return new Problem(answer.status, "", plain);
  }
}

function capital(words: string): string {
  const sentence = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}
