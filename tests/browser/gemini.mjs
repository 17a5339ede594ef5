// A Gemini across a socket: a test scripts its answers chunk by chunk and sees when a client has gone.

import { createServer } from "node:http";

/** @typedef {(reply: Reply) => void | Promise<void>} Script */

/** A promise that a test opens by hand. */
export function gate() {
  let open = () => {};
  const opened = /** @type {Promise<void>} */ (new Promise((resolve) => (open = resolve)));
  return { open, opened };
}

/** What a script writes with: one answer to `streamGenerateContent`. */
class Reply {
  #response;

  /** @param {import("node:http").ServerResponse} response */
  constructor(response) {
    this.#response = response;
    /** Settles when the client has gone before the end. @type {Promise<void>} */
    this.left = new Promise((resolve) =>
      response.once("close", () => response.writableFinished || resolve()),
    );
  }

  /** One event. @param {object} data */
  event(data) {
    if (!this.#response.headersSent)
      this.#response.writeHead(200, { "content-type": "text/event-stream" });
    this.#response.write(`data: ${JSON.stringify(data)}\r\n\r\n`);
  }

  /** Text, each piece an event of its own. @param {...string} pieces */
  text(...pieces) {
    for (const text of pieces)
      this.event({
        candidates: [{ content: { parts: [{ text }], role: "model" }, index: 0 }],
        modelVersion: "gemini-test-1",
      });
  }

  /** The regular end, with its reason. */
  finish(reason = "STOP") {
    this.event({
      candidates: [{ content: { role: "model" }, finishReason: reason }],
      modelVersion: "gemini-test-1",
      usageMetadata: { promptTokenCount: 7, candidatesTokenCount: 4, totalTokenCount: 11 },
    });
    this.#response.end();
  }

  /** The prompt is refused. */
  block() {
    this.event({ promptFeedback: { blockReason: "PROHIBITED_CONTENT" } });
    this.#response.end();
  }

  /** The stream ends without a finish reason. */
  truncate() {
    this.#response.end();
  }

  /** An error as Google writes it. @param {number} code @param {string} status */
  error(code, status) {
    this.#response.writeHead(code, { "content-type": "application/json" });
    this.#response.end(JSON.stringify({ error: { code, status, message: "words of Google" } }));
  }
}

/** Starts the fake on a free port. Unscripted, it answers "Hello [1].". */
export async function startGemini() {
  /** Newest first. @type {{ question: string, script: Script }[]} */
  const scripts = [];
  /** The bodies of the calls to `streamGenerateContent`. @type {any[]} */
  const calls = [];

  const server = createServer(async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    if (!request.url?.includes(":streamGenerateContent")) {
      // A look at a model, which Docent takes at its start and for /ready.
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ name: "models/x" }));
      return;
    }
    const body = JSON.parse(Buffer.concat(pieces).toString());
    calls.push(body);
    const turn = body.contents.at(-1).parts[0].text;
    const asked = turn.slice(turn.lastIndexOf("<question>"));
    const scripted = scripts.find(({ question }) => asked.includes(question));
    await (scripted?.script ?? whole("Hello [1]."))(new Reply(response));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());

  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    /** Scripts the answers to questions that contain this; a later script wins. @param {string} question @param {Script} script */
    on(question, script) {
      scripts.unshift({ question, script });
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** A script: these pieces and a regular end. @param {...string} pieces @returns {Script} */
export function whole(...pieces) {
  return (reply) => {
    reply.text(...pieces);
    reply.finish();
  };
}
