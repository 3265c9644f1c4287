// The connection to the studio: questions with answers, and what it sends by itself.

const handlers = new Map();
const waiting = new Map();
let socket = null, number = 0, pause = 500;

/** Call a function with every message of a type: (header, bytes). */
export const on = (type, handler) => handlers.set(type, [...(handlers.get(type) ?? []), handler]);

/** Ask for something; the promise ends with its answer, or with an Error that says what is wrong. */
export function ask(type, fields = {}) {
  return new Promise((resolve, reject) => {
    if (socket?.readyState !== WebSocket.OPEN) return reject(new Error("no connection to the studio"));
    const id = ++number;
    waiting.set(id, { resolve, reject });
    socket.send(JSON.stringify({ type, id, ...fields }));
  });
}

export function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { pause = 500; emit({ type: "connected" }); };
  socket.onmessage = ({ data }) => (typeof data === "string" ? receive(JSON.parse(data)) : receive(...unpacked(data)));
  socket.onclose = () => {
    for (const { reject } of waiting.values()) reject(new Error("the connection ended"));
    waiting.clear();
    emit({ type: "disconnected" });
    setTimeout(connect, pause);
    pause = Math.min(pause * 2, 8000);
  };
}

function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return [header, new Uint8Array(buffer, 4 + length)];
}

function receive(message, bytes) {
  if (message.type !== "answer") return emit(message, bytes);
  const asked = waiting.get(message.id);
  waiting.delete(message.id);
  if (asked) "error" in message ? asked.reject(new Error(message.error)) : asked.resolve(message);
}

const emit = (message, bytes) => { for (const handler of handlers.get(message.type) ?? []) handler(message, bytes); };
