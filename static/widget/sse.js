/**
 * The reader of an event stream.
 *
 * @typedef {{ type: string, data: string }} SseEvent
 */

/** Server-sent events (WHATWG HTML §9.2.6) out of bytes; `id` and `retry` only serve reconnecting. */
export class SseParser {
  #decoder = new TextDecoder(); // in stream mode; drops one BOM at the start
  #line = "";
  #afterCr = false; // a line feed that comes next belongs to the line that has ended
  #data = "";
  #type = "";

  /** The events these bytes complete; what the stream's end leaves open is none. @param {Uint8Array} bytes */
  feed(bytes) {
    const events = /** @type {SseEvent[]} */ ([]);
    const decoded = this.#decoder.decode(bytes, { stream: true });
    const lines = (this.#afterCr ? decoded.replace(/^\n/, "") : decoded).split(/\r\n|\r|\n/);
    if (decoded) this.#afterCr = decoded.endsWith("\r");
    const unfinished = lines.pop() ?? "";
    for (const line of lines) {
      const event = this.#take(this.#line + line);
      this.#line = "";
      if (event) events.push(event);
    }
    this.#line += unfinished;
    return events;
  }

  /** @param {string} line */
  #take(line) {
    if (line === "") {
      const event = { type: this.#type || "message", data: this.#data.slice(0, -1) };
      const isEmpty = this.#data === "";
      this.#type = this.#data = "";
      return isEmpty ? null : event;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data += value + "\n";
    else if (field === "event") this.#type = value;
    return null;
  }
}

/** @param {ReadableStream<Uint8Array>} body */
export async function* readEvents(body) {
  const [parser, reader] = [new SseParser(), body.getReader()];
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read())
      yield* parser.feed(read.value);
  } finally {
    reader.cancel().catch(() => {});
  }
}
