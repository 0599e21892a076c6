// A virtual user: its own instance of the script, as in k6, with k6's modules, and what it still waits for. An
// iteration is over when its function has returned and none of its sockets, timers and requests is left.

import { createHash, createHmac, randomBytes } from "node:crypto";
import { websockets } from "./websocket.js";

export class Vu {
  iteration = -1;
  #metrics;
  #env;
  #scenario;
  // Ways to end what the present iteration waits for.
  #waiting = new Set();
  #idle = () => {};
  #fail = () => {};

  constructor(id, program, { metrics, env, scenario }) {
    this.id = id;
    this.#metrics = metrics;
    this.#env = env;
    this.#scenario = scenario;
    const module = { exports: {} };
    const timers = this.#timers();
    const modules = this.#modules(timers);
    const require = (name) => {
      if (!(name in modules)) throw new Error(`this runner has no ${name}`);
      return modules[name];
    };
    const { setTimeout, clearTimeout, setInterval, clearInterval } = timers;
    program(module, module.exports, require, env, id, console, setTimeout, clearTimeout, setInterval, clearInterval);
    this.exports = module.exports;
  }

  /// Something begins without which the iteration is not over; returns what to call when it is done.
  begins(end) {
    this.#waiting.add(end);
    return () => {
      this.#waiting.delete(end);
      if (this.#waiting.size === 0) this.#idle();
    };
  }

  /// Calls back into the script; what it throws ends the iteration.
  call(listener, ...values) {
    try {
      listener(...values);
    } catch (error) {
      this.#fail(error);
    }
  }

  /// One iteration; false when it was interrupted. `until` is a signal that ends it.
  async run(name, until) {
    this.iteration += 1;
    const began = performance.now();
    const failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    let interrupt;
    const interrupted = new Promise((_, reject) => {
      interrupt = () => reject(until.reason);
    });
    until.addEventListener("abort", interrupt);
    try {
      until.throwIfAborted();
      await Promise.race([this.#whole(name), failed, interrupted]);
    } catch (error) {
      const why = error === until.reason ? "interrupted" : (error?.stack ?? error);
      console.error(`virtual user ${this.id}, iteration ${this.iteration}: ${why}`);
      return false;
    } finally {
      until.removeEventListener("abort", interrupt);
      this.#idle = () => {};
      this.#fail = (error) => console.error(`virtual user ${this.id}, after its iteration: ${error?.stack ?? error}`);
      for (const end of this.#waiting) end();
      this.#waiting.clear();
    }
    this.#metrics.find("iterations").add(1);
    this.#metrics.find("iteration_duration").add(performance.now() - began);
    return true;
  }

  async #whole(name) {
    const idle = () => this.#waiting.size === 0;
    await this.exports[name]();
    if (!idle()) {
      await new Promise((resolve) => {
        this.#idle = resolve;
      });
    }
  }

  #timers() {
    const known = new Map();
    let last = 0;
    const forget = (id) => {
      known.get(id)?.();
      known.delete(id);
    };
    const timer = (start, stop, once) => (listener, delay, ...values) => {
      const id = (last += 1);
      const handle = start(() => {
        this.call(listener, ...values);
        if (once) forget(id);
      }, delay);
      const done = this.begins(() => stop(handle));
      known.set(id, () => {
        stop(handle);
        done();
      });
      return id;
    };
    return {
      setTimeout: timer(setTimeout, clearTimeout, true),
      clearTimeout: forget,
      setInterval: timer(setInterval, clearInterval, false),
      clearInterval: forget,
    };
  }

  #modules(timers) {
    const metrics = this.#metrics;
    const metric = (kind) =>
      class {
        constructor(name, isTime) {
          this.name = name;
          this.declared = metrics.declare(name, kind, isTime);
        }
        add(value, tags) {
          this.declared.add(value, tags);
        }
      };
    const vu = this;
    const execution = {
      vu: {
        idInTest: this.id,
        idInInstance: this.id,
        get iterationInScenario() {
          return vu.iteration;
        },
      },
      scenario: this.#scenario,
    };
    const modules = {
      k6: { check: (value, checks) => check(value, checks, metrics) },
      "k6/metrics": {
        Counter: metric("counter"),
        Gauge: metric("gauge"),
        Rate: metric("rate"),
        Trend: metric("trend"),
      },
      "k6/timers": timers,
      "k6/websockets": { WebSocket: websockets(this, metrics) },
      "k6/http": { asyncRequest: (...request) => this.#request(...request) },
      "k6/crypto": {
        hmac: (algorithm, secret, input, encoding) =>
          encoded(createHmac(algorithm, secret).update(input).digest(), encoding),
        sha256: (input, encoding) => encoded(createHash("sha256").update(input).digest(), encoding),
        randomBytes: (size) => new Uint8Array(randomBytes(size)).buffer,
      },
      "k6/encoding": { b64encode: (input, encoding) => encoded(Buffer.from(input), `base64${encoding ?? ""}`) },
      "k6/execution": execution,
    };
    for (const module of Object.values(modules)) Object.assign(module, { default: module, __esModule: true });
    return modules;
  }

  /// As in k6, what cannot be reached is an answer of status 0.
  async #request(method, url, body, params) {
    const given = new AbortController();
    const done = this.begins(() => given.abort());
    const began = performance.now();
    let answer;
    try {
      const response = await fetch(url, { method, body, headers: params?.headers, signal: given.signal });
      const text = await response.text();
      answer = { status: response.status, body: text, error: "", json: () => JSON.parse(text) };
    } catch (error) {
      answer = { status: 0, body: null, error: String(error?.cause?.message ?? error), json: () => null };
    }
    const measure = (name, value) => this.#metrics.find(name).add(value, params?.tags);
    measure("http_reqs", 1);
    measure("http_req_duration", performance.now() - began);
    measure("http_req_failed", answer.status < 200 || answer.status >= 400);
    // The script goes on before the iteration can be over.
    setImmediate(done);
    return answer;
  }
}

function check(value, checks, metrics) {
  const results = Object.values(checks).map((holds) => Boolean(holds(value)));
  for (const result of results) metrics.find("checks").add(result);
  return results.every(Boolean);
}

function encoded(bytes, encoding) {
  switch (encoding) {
    case "hex":
    case "base64":
      return bytes.toString(encoding);
    case "base64url":
      return bytes.toString("base64").replaceAll("+", "-").replaceAll("/", "_");
    case "base64rawurl":
      return bytes.toString("base64url");
    default:
      throw new Error(`this runner does not encode as ${encoding}`);
  }
}
