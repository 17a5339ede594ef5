// Fakes Gemini across a socket: a test scripts its answers chunk by chunk, and sees when a client has gone.

import { createServer } from "node:http";

import { closeServer, listenOnFreePort } from "./listen.mjs";

/** @typedef {(reply: Reply) => void | Promise<void>} Script */

/** Creates a promise that a test opens by hand. */
export function createGate() {
  let open = () => {};
  const opened = /** @type {Promise<void>} */ (new Promise((resolve) => (open = resolve)));
  return { open, opened };
}

/** Writes one answer to `streamGenerateContent`, as a script directs. */
class Reply {
  #response;

  /** @param {import("node:http").ServerResponse} response */
  constructor(response) {
    this.#response = response;
    /** Settles when the client goes before the end. @type {Promise<void>} */
    this.left = new Promise((resolve) =>
      response.once("close", () => response.writableFinished || resolve()),
    );
  }

  /** Sends one event. @param {object} data */
  sendEvent(data) {
    if (!this.#response.headersSent)
      this.#response.writeHead(200, { "content-type": "text/event-stream" });
    this.#response.write(`data: ${JSON.stringify(data)}\r\n\r\n`);
  }

  /** Sends text, each piece as an event of its own. @param {...string} pieces */
  sendText(...pieces) {
    for (const text of pieces)
      this.sendEvent({
        candidates: [{ content: { parts: [{ text }], role: "model" }, index: 0 }],
        modelVersion: "gemini-test-1",
      });
  }

  /** Ends the answer regularly, with its reason. */
  finishStream(reason = "STOP") {
    this.sendEvent({
      candidates: [{ content: { role: "model" }, finishReason: reason }],
      modelVersion: "gemini-test-1",
      usageMetadata: { promptTokenCount: 7, candidatesTokenCount: 4, totalTokenCount: 11 },
    });
    this.#response.end();
  }

  /** Refuses the prompt. */
  blockPrompt() {
    this.sendEvent({ promptFeedback: { blockReason: "PROHIBITED_CONTENT" } });
    this.#response.end();
  }

  /** Ends the stream without a finish reason. */
  truncateStream() {
    this.#response.end();
  }

  /** Sends an error as Google writes it. @param {number} code @param {string} status */
  sendError(code, status) {
    this.#response.writeHead(code, { "content-type": "application/json" });
    this.#response.end(JSON.stringify({ error: { code, status, message: "words of Google" } }));
  }
}

/** Starts the fake on a free port. A question without a script is answered with "Hello [1].". */
export async function startGemini() {
  /** Scripts, newest first. @type {{ question: string, script: Script }[]} */
  const scripts = [];
  /** Bodies of the calls to `streamGenerateContent`. @type {any[]} */
  const calls = [];

  const server = createServer(async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    if (!request.url?.includes(":streamGenerateContent")) {
      // Docent asks about its model at its start and for /ready.
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ name: "models/x" }));
      return;
    }
    const body = JSON.parse(Buffer.concat(pieces).toString());
    calls.push(body);
    const turn = body.contents.at(-1).parts[0].text;
    const asked = turn.slice(turn.lastIndexOf("<question>"));
    const scripted = scripts.find(({ question }) => asked.includes(question));
    await (scripted?.script ?? answerWith("Hello [1]."))(new Reply(response));
  });
  const port = await listenOnFreePort(server);

  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    /**
     * Scripts the answers to questions that contain this text; a later script wins.
     * @param {string} question @param {Script} script
     */
    script(question, script) {
      scripts.unshift({ question, script });
    },
    close: () => closeServer(server),
  };
}

/** Creates a script that sends these pieces and a regular end. @param {...string} pieces @returns {Script} */
export function answerWith(...pieces) {
  return (reply) => {
    reply.sendText(...pieces);
    reply.finishStream();
  };
}
