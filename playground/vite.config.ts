// How the page is built: into dist/, which the binary holds, for the paths below /playground/. `npm run dev` serves it
// against a node that runs beside it.

import { defineConfig } from "vitest/config";
import { notices } from "./notices.ts";

const node = process.env.COLLABD_URL ?? "http://127.0.0.1:8004";
// The node's paths that the page asks.
const paths = ["/api", "/ws", "/yjs", "/status", "/health", "/connections"];

export default defineConfig({
  base: "/playground/",
  plugins: [notices()],
  build: {
    outDir: "dist",
    // What knows `light-dark()`, so that it stays as it is written.
    target: ["chrome123", "firefox120", "safari17.5"],
    // A node's policy forbids scripts within the page, and browsers of that age need none of it.
    modulePreload: { polyfill: false },
    // Languages are loaded when they are chosen; the first load is what counts.
    chunkSizeWarningLimit: 1000,
    rolldownOptions: {
      output: {
        chunkFileNames: ({ facadeModuleId, name }) => {
          const language = facadeModuleId?.match(/@codemirror\/(lang-\w+)/)?.[1];
          return `assets/${language ?? name}-[hash].js`;
        },
      },
    },
  },
  server: {
    proxy: Object.fromEntries(paths.map((path) => [path, { target: node, ws: true, changeOrigin: false }])),
  },
  test: { include: ["test/**/*.test.ts"] },
});
