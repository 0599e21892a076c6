// What k6 has beside the language and its own types do not name.

declare const console: {
  log(...values: unknown[]): void;
  error(...values: unknown[]): void;
};
