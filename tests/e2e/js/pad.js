// The official Socket.IO client of JavaScript, driven by lines of JSON: one object a command on standard input, one
// object an event on standard output.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, options] = process.argv.slice(2);
const socket = io(url, JSON.parse(options));
const tell = (event, body) => process.stdout.write(`${JSON.stringify({ event, body })}\n`);

socket.onAny((event, body) => tell(event, body));
socket.on("connect", () => tell("connected", socket.io.engine.transport.name));
socket.on("disconnect", (reason) => tell("disconnected", reason));
socket.on("connect_error", (error) => tell("refused", { message: error.message, data: error.data ?? null }));

for await (const line of createInterface({ input: process.stdin })) {
  const { event, body, number } = JSON.parse(line);
  if (event === "transport") {
    tell("transport", socket.io.engine.transport.name);
  } else if (number === undefined) {
    socket.emit(event, body);
  } else {
    socket.emit(event, body, () => tell("done", number));
  }
}
// The process ends when its goodbye is out.
socket.disconnect();
