// A script and what it imports, as one text that can be run once for each virtual user. k6's own modules stay imports.

import { Script } from "node:vm";
import { build } from "esbuild";

// What a script sees beside the language itself.
export const SCOPE = [
  "module",
  "exports",
  "require",
  "__ENV",
  "__VU",
  "console",
  "setTimeout",
  "clearTimeout",
  "setInterval",
  "clearInterval",
];

/// Returns a function of SCOPE's values, which leaves the script's exports in `module`.
export async function load(path) {
  const built = await build({
    entryPoints: [path],
    bundle: true,
    write: false,
    format: "cjs",
    platform: "neutral",
    target: "es2022",
    external: ["k6", "k6/*"],
    sourcemap: "inline",
    logLevel: "silent",
  });
  const [{ text }] = built.outputFiles;
  return new Script(`(function (${SCOPE.join(", ")}) {${text}\n})`, { filename: path }).runInThisContext();
}
