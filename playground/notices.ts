// Writes licences.txt beside the bundle: the notices of all packages of which something is in it, and of no others.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Plugin } from "vite";

const NAMES = /^(licen[cs]e|notice)(\.(md|txt))?$/i;
// A licence that wants more than its notice may not come in unseen.
const ALLOWED = ["MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0"];

export function notices(): Plugin {
  return {
    name: "notices",
    apply: "build",
    generateBundle(_options, bundle) {
      const folders = new Set<string>();
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== "chunk") continue;
        for (const id of chunk.moduleIds) {
          const folder = packageFolder(id);
          if (folder !== null) folders.add(folder);
        }
      }
      const parts = [...folders].map(notice).sort((a, b) => (a.name < b.name ? -1 : 1));
      const head = "What others wrote and the playground's bundle holds, each under its own licence.\n";
      const source = [head, ...parts.map((part) => part.text)].join(`\n${"-".repeat(80)}\n\n`);
      this.emitFile({ type: "asset", fileName: "licences.txt", source });
    },
  };
}

/** The package that a module is of; `null` for our own and for what the bundler makes itself. */
function packageFolder(id: string): string | null {
  if (id.startsWith("\0") || !id.includes("/node_modules/")) return null;
  let folder = dirname(id.split("?")[0]!);
  // A package.json without a name only says how its folder is to be read.
  while (!named(folder)) folder = dirname(folder);
  return folder;
}

function named(folder: string): boolean {
  const file = join(folder, "package.json");
  return existsSync(file) && JSON.parse(readFileSync(file, "utf8")).name !== undefined;
}

function notice(folder: string): { name: string; text: string } {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  if (!ALLOWED.includes(license))
    throw new Error(`${name} is under ${license}, which is not one of ${ALLOWED.join(", ")}`);
  const files = readdirSync(folder)
    .filter((file) => NAMES.test(file))
    .sort();
  const texts = files.map((file) => readFileSync(join(folder, file), "utf8").replaceAll("\r\n", "\n").trim());
  const body =
    texts.length > 0 ? texts.join("\n\n") : `The package has no notice of its own; its licence is ${license}.`;
  return { name, text: `${name} ${version} (${license})\n\n${body}\n` };
}
