/** Asks the server. Nothing here touches the page. */

/** The server says something every 15 s, and ends an answer within 60 s. */
const MAX_SILENCE_MS = 75_000;

/** Server-sent events (WHATWG HTML §9.2.6), but for what serves reconnecting. */
export class SseParser {
  #decoder = new TextDecoder(); // drops one BOM at the start
  #line = "";
  #afterCr = false; // a line feed that comes next ended its line already
  #data = "";
  #type = "";

  /** The events that these bytes complete. @param {Uint8Array} bytes */
  feed(bytes) {
    const events = /** @type {{ type: string, data: string }[]} */ ([]);
    const decoded = this.#decoder.decode(bytes, { stream: true });
    const lines = (this.#afterCr ? decoded.replace(/^\n/, "") : decoded).split(/\r\n|\r|\n/);
    if (decoded) this.#afterCr = decoded.endsWith("\r");
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

/** The first `max` characters, and no half of any, which no reader of JSON takes. @param {string} text @param {number} max */
export const clip = (text, max) =>
  [...text.slice(0, 2 * max).replace(/\p{Surrogate}/gu, "\ufffd")].slice(0, max).join("");

/** As much of the conversation as a request may hold. @param {Turn[]} turns */
export const historyOf = (turns) =>
  turns
    .filter(({ text, ending }) => text.trim() && !ending.problem)
    .flatMap(({ query, text }) => [
      { role: "user", content: query },
      { role: "assistant", content: clip(text, 8000) },
    ])
    .slice(-20);

/**
 * @param {typeof fetch} send @param {string} url @param {object} request @param {AbortSignal} stop
 * @param {AnswerView} view @returns {Promise<Ending>}
 */
export async function ask(send, url, request, stop, view) {
  const silence = new AbortController();
  const listen = () => setTimeout(() => silence.abort(), MAX_SILENCE_MS);
  let [timer, isHeard] = [listen(), false];
  /** @type {ReadableStreamDefaultReader<Uint8Array> | undefined} */
  let reader;
  try {
    const response = await send(url, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify(request),
      signal: AbortSignal.any([stop, silence.signal]),
    });
    isHeard = true;
    const { body, headers, ok, status } = response;
    if (!body || !headers.get("content-type")?.startsWith("text/event-stream")) {
      const answer = await response.json().catch(() => ({}));
      if (answer.detail) return { problem: answer };
      if (ok && typeof answer.response === "string") {
        view.sources(answer.sources);
        view.write(answer.response);
        return { done: answer };
      }
      const after = Number(headers.get("retry-after")) || 0;
      return { problem: failure(ok ? "cut" : "unreachable", ok || status >= 429, after) };
    }
    const parser = new SseParser();
    reader = body.getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      clearTimeout(timer);
      timer = listen();
      for (const { type, data } of parser.feed(read.value)) {
        const value = JSON.parse(data);
        if (type === "sources") view.sources(value.sources);
        else if (type === "token") view.write(value.text);
        else if (type === "done") return { done: value };
        else if (type === "error") return { problem: value };
      }
    }
  } catch (error) {
    if (stop.aborted) return { state: "stopped" };
    if (!isHeard) return { problem: failure("unreachable", true) };
    if (error instanceof SyntaxError) return { problem: failure("cut", true) };
  } finally {
    clearTimeout(timer);
    void reader?.cancel().catch(() => {}); // Ends the request, where there is more to come.
  }
  return { state: "cut" };
}

/** @param {string} code @param {boolean} retryable @returns {Problem} */
const failure = (code, retryable, retry_after = 0) => ({
  code,
  detail: "",
  retryable,
  retry_after,
});
