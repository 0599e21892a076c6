// The official Socket.IO client of JavaScript, driven by lines of JSON: one object a command on standard input, one
// object an event, or word of the client itself, on standard output.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, options] = process.argv.slice(2);
const socket = io(url, JSON.parse(options));
const write = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const tell = (own, body) => write({ own, body });

socket.onAny((event, body) => write({ event, body }));
socket.on("connect", () => tell("connected", socket.io.engine.transport.name));
socket.on("disconnect", (reason) => tell("disconnected", reason));
socket.on("connect_error", (error) => tell("refused", { message: error.message, data: error.data ?? null }));

const control = {
  transport: () => tell("transport", socket.io.engine.transport.name),
  come: () => socket.connect(),
  leave: () => socket.disconnect(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: what, event, body, number } = JSON.parse(line);
  if (what !== undefined) {
    control[what]();
  } else if (number === undefined) {
    socket.emit(event, body);
  } else {
    socket.emit(event, body, () => tell("done", number));
  }
}
// The process ends when its goodbye is out.
socket.disconnect();
