// `k6/websockets` over the `ws` package: what a script sees of a socket, and what is measured of it.

import WebSocket from "ws";

const [CONNECTING, OPEN, CLOSING, CLOSED] = [0, 1, 2, 3];
// Ends of a session that k6 does not report as errors.
const EXPECTED = [1000, 1001];
const HANDSHAKE_PATIENCE_MS = 45_000;

/// The class for scripts of one virtual user, whose iteration lasts as long as its sockets.
export function websockets(vu, metrics) {
  const measure = (name, value, tags) => metrics.find(name).add(value, tags);

  class Socket {
    static CONNECTING = CONNECTING;
    static OPEN = OPEN;
    static CLOSING = CLOSING;
    static CLOSED = CLOSED;

    binaryType = "blob";
    #listeners = { open: [], message: [], error: [], close: [], ping: [], pong: [] };
    #tags;
    #began = performance.now();
    #opened = 0;
    #error = null;
    #socket;
    #done;

    constructor(url, _protocols, params) {
      this.url = url;
      this.#tags = { name: url, url, ...params?.tags };
      this.#done = vu.begins(() => this.#socket.terminate());
      this.#socket = new WebSocket(url, {
        headers: params?.headers,
        perMessageDeflate: params?.compression === "deflate",
        handshakeTimeout: HANDSHAKE_PATIENCE_MS,
        // It would look at every text for what no server may send; a broken one would not parse anyway.
        skipUTF8Validation: true,
      });
      this.#socket.on("open", () => {
        this.#opened = performance.now();
        measure("ws_sessions", 1, this.#tags);
        measure("ws_connecting", this.#opened - this.#began, this.#tags);
        this.#tell("open");
      });
      this.#socket.on("message", (data, isBinary) => {
        measure("ws_msgs_received", 1, this.#tags);
        this.#tell("message", { data: isBinary ? arrayBuffer(data) : data.toString() });
      });
      this.#socket.on("ping", () => this.#tell("ping"));
      this.#socket.on("pong", () => this.#tell("pong"));
      this.#socket.on("error", (error) => {
        this.#error = error;
      });
      this.#socket.on("close", (code, reason) => this.#close(code, reason.toString()));
    }

    get readyState() {
      return this.#socket.readyState;
    }

    get bufferedAmount() {
      return this.#socket.bufferedAmount;
    }

    addEventListener(name, listener) {
      const listeners = this.#listeners[name];
      if (!listeners) throw new TypeError(`a socket has no event '${name}'`);
      listeners.push(listener);
    }

    send(data) {
      if (this.readyState !== OPEN) throw new Error("a socket that is not open cannot send");
      this.#socket.send(data);
      measure("ws_msgs_sent", 1, this.#tags);
    }

    ping() {
      this.#socket.ping();
    }

    close(code = 1000, reason = "") {
      this.#socket.close(code, reason);
    }

    /// First what went wrong, if anything did, and then that it is over, as k6 has it.
    #close(code, reason) {
      const opened = this.#opened > 0;
      if (opened) measure("ws_session_duration", performance.now() - this.#opened, this.#tags);
      else measure("ws_connecting", performance.now() - this.#began, this.#tags);
      if (this.#error || !EXPECTED.includes(code)) {
        const close = `websocket: close ${code}${reason ? `: ${reason}` : ""}`;
        this.#tell("error", { error: opened ? close : `websocket: bad handshake: ${this.#error?.message}` });
      }
      this.#tell("close", { code, reason, wasClean: code !== 1006 });
      this.#done();
    }

    #tell(type, more) {
      const event = { type, timestamp: Date.now(), ...more };
      for (const listener of [this[`on${type}`], ...this.#listeners[type]]) {
        if (listener) vu.call(listener, event);
      }
    }
  }

  return Socket;
}

function arrayBuffer(data) {
  return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
}
