/** Sends questions to the server and reads the answers. Does not touch the page. */

/** Longest silence of the server, which sends something every 15 s and ends an answer within 60 s. */
const MAX_SILENCE_MS = 75_000;

/** Parses server-sent events (WHATWG HTML §9.2.6), without the fields for reconnecting. */
export class SseParser {
  #decoder = new TextDecoder(); // drops one BOM at the start
  #line = "";
  #isAfterCr = false; // a line feed that comes next ended its line already
  #data = "";
  #type = "";

  /** Returns the events that these bytes complete. @param {Uint8Array} bytes */
  parseBytes(bytes) {
    const events = /** @type {{ type: string, data: string }[]} */ ([]);
    const decoded = this.#decoder.decode(bytes, { stream: true });
    const lines = (this.#isAfterCr ? decoded.replace(/^\n/, "") : decoded).split(/\r\n|\r|\n/);
    if (decoded) this.#isAfterCr = decoded.endsWith("\r");
    const rest = lines.pop();
    for (const line of lines) {
      const [, field, value = ""] = /^([^:]*)(?:: ?([^]*))?$/.exec(this.#line + line) ?? [];
      if (field === "data") this.#data += `${value}\n`;
      else if (field === "event") this.#type = value;
      if (!(this.#line + line)) {
        if (this.#data)
          events.push({ type: this.#type || "message", data: this.#data.slice(0, -1) });
        this.#type = this.#data = "";
      }
      this.#line = "";
    }
    this.#line += rest;
    return events;
  }
}

/**
 * Returns the first `max` characters. Half a surrogate pair, which JSON parsers refuse, becomes U+FFFD.
 * @param {string} text @param {number} max
 */
export const clipText = (text, max) =>
  [...text.slice(0, 2 * max).replace(/\p{Surrogate}/gu, "\ufffd")].slice(0, max).join("");

/** Returns the end of the conversation, within the bounds of a request. @param {Turn[]} turns */
export const buildHistory = (turns) =>
  turns
    .filter(({ text, ending }) => text.trim() && !ending.problem)
    .flatMap(({ query, text }) => [
      { role: "user", content: query },
      { role: "assistant", content: clipText(text, 8000) },
    ])
    .slice(-20);

/**
 * Sends a question, shows the answer in `view` while it comes, and returns the ending of the answer. Never
 * throws.
 * @param {typeof fetch} send @param {string} url @param {object} request @param {AbortSignal} stop
 * @param {AnswerView} view @returns {Promise<Ending>}
 */
export async function askServer(send, url, request, stop, view) {
  const silence = new AbortController();
  const startTimer = () => setTimeout(() => silence.abort(), MAX_SILENCE_MS);
  let [timer, hasHead] = [startTimer(), false];
  /** @type {ReadableStreamDefaultReader<Uint8Array> | undefined} */
  let reader;
  try {
    const response = await send(url, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify(request),
      signal: AbortSignal.any([stop, silence.signal]),
    });
    hasHead = true;
    const { body, headers, ok, status } = response;
    if (!body || !headers.get("content-type")?.startsWith("text/event-stream")) {
      const answer = await response.json().catch(() => ({}));
      if (answer.detail) return { problem: answer };
      if (ok && typeof answer.response === "string") {
        view.showSources(answer.sources);
        view.appendText(answer.response);
        return { done: answer };
      }
      // A proxy answered, not Docent.
      const retryAfter = Number(headers.get("retry-after")) || 0;
      return { problem: makeProblem(ok ? "cut" : "unreachable", ok || status >= 429, retryAfter) };
    }
    const parser = new SseParser();
    reader = body.getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      clearTimeout(timer);
      timer = startTimer();
      for (const { type, data } of parser.parseBytes(read.value)) {
        const value = JSON.parse(data);
        if (type === "sources") view.showSources(value.sources);
        else if (type === "token") view.appendText(value.text);
        else if (type === "done") return { done: value };
        else if (type === "error") return { problem: value };
      }
    }
  } catch (error) {
    if (stop.aborted) return { state: "stopped" };
    if (!hasHead) return { problem: makeProblem("unreachable", true) };
    if (error instanceof SyntaxError) return { problem: makeProblem("cut", true) };
  } finally {
    clearTimeout(timer);
    void reader?.cancel().catch(() => {}); // Ends the request where the server has more to send.
  }
  return { state: "cut" };
}

/** @param {string} code @param {boolean} retryable @returns {Problem} */
const makeProblem = (code, retryable, retry_after = 0) => ({
  code,
  detail: "",
  retryable,
  retry_after,
});
