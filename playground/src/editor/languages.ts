// The languages that the editor knows. Each is a bundle of its own, loaded when somebody chooses it. A session may have
// any word as its language; what is not here is shown as plain text.

import type { Extension } from "@codemirror/state";

interface Language {
  label: string;
  load: () => Promise<Extension>;
}

export const LANGUAGES: ReadonlyMap<string, Language> = new Map<string, Language>([
  ["python", { label: "Python", load: () => import("@codemirror/lang-python").then((it) => it.python()) }],
  ["javascript", { label: "JavaScript", load: () => script({ jsx: true }) }],
  ["typescript", { label: "TypeScript", load: () => script({ jsx: true, typescript: true }) }],
  ["rust", { label: "Rust", load: () => import("@codemirror/lang-rust").then((it) => it.rust()) }],
  ["go", { label: "Go", load: () => import("@codemirror/lang-go").then((it) => it.go()) }],
  ["java", { label: "Java", load: () => import("@codemirror/lang-java").then((it) => it.java()) }],
  ["cpp", { label: "C and C++", load: () => import("@codemirror/lang-cpp").then((it) => it.cpp()) }],
  ["json", { label: "JSON", load: () => import("@codemirror/lang-json").then((it) => it.json()) }],
  ["html", { label: "HTML", load: () => import("@codemirror/lang-html").then((it) => it.html()) }],
  ["css", { label: "CSS", load: () => import("@codemirror/lang-css").then((it) => it.css()) }],
  ["markdown", { label: "Markdown", load: () => import("@codemirror/lang-markdown").then((it) => it.markdown()) }],
  ["sql", { label: "SQL", load: () => import("@codemirror/lang-sql").then((it) => it.sql()) }],
]);

/** Nothing for a language that is not here. */
export async function support(language: string): Promise<Extension> {
  return (await LANGUAGES.get(language.toLowerCase())?.load()) ?? [];
}

async function script(options: { jsx: boolean; typescript?: boolean }): Promise<Extension> {
  return (await import("@codemirror/lang-javascript")).javascript(options);
}
