// Puts a TCP proxy in front of Docent that treats the bytes of its answers badly.

import { createServer, connect } from "node:net";

import { listenOnFreePort } from "./listen.mjs";

/** Creates a source of numbers from 0 to 1, equal for equal seeds (mulberry32). @param {number} seed */
export function createRandom(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * @typedef {object} Mischief Describes the damage to the answer of `POST /chat`.
 * @property {number} [seed] Cuts the answer into pieces of 1 to 7 bytes, at points that this number decides.
 * @property {number} [cutAfter] The connection breaks after so many bytes of the body.
 */

/** Starts the proxy. @param {string} target @param {Mischief} mischief Read again for each question. */
export async function startProxy(target, mischief = {}) {
  const upstream = new URL(target);
  const sockets = new Set();
  const server = createServer((reader) => {
    const docent = connect(Number(upstream.port), upstream.hostname);
    for (const socket of [reader, docent]) {
      socket.setNoDelay(true);
      sockets.add(socket);
      socket.once("close", () => {
        sockets.delete(socket);
        reader.destroy();
        docent.destroy();
      });
      socket.on("error", () => {}); // "close" follows
    }
    const question = {
      now: /** @type {Mischief | null} */ (null),
      cut: createRandom(0),
      head: true,
      body: 0,
    };
    reader.on("data", (bytes) => {
      const start = bytes.subarray(0, 12).toString("latin1");
      if (/^[A-Z]+ \//.test(start)) {
        question.now = start.startsWith("POST /chat") ? { ...mischief } : null;
        question.cut = createRandom(mischief.seed ?? 0);
        question.head = true;
        question.body = 0;
      }
      docent.write(bytes);
    });
    docent.on("data", async (bytes) => {
      docent.pause();
      await forwardAnswer(bytes, question, reader);
      docent.resume();
    });
  });
  const port = await listenOnFreePort(server);
  return {
    url: `http://127.0.0.1:${port}`,
    mischief,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/**
 * Forwards bytes of Docent to the reader, with the damage of its question.
 *
 * @param {Buffer} bytes
 * @param {{ now: Mischief | null, cut: () => number, head: boolean, body: number }} question
 * @param {import("node:net").Socket} reader
 */
async function forwardAnswer(bytes, question, reader) {
  if (!question.now) {
    reader.write(bytes);
    return;
  }
  let body = bytes;
  if (question.head) {
    const end = bytes.indexOf("\r\n\r\n") + 4;
    reader.write(bytes.subarray(0, end));
    body = bytes.subarray(end);
    question.head = false;
  }
  const { cutAfter = Infinity, seed } = question.now;
  const kept = body.subarray(0, Math.max(0, cutAfter - question.body));
  await writePieces(kept, seed === undefined ? undefined : question.cut, reader);
  question.body += body.length;
  if (question.body >= cutAfter) reader.destroy();
}

/** @param {Buffer} bytes @param {(() => number) | undefined} cut @param {import("node:net").Socket} reader */
async function writePieces(bytes, cut, reader) {
  for (let from = 0; from < bytes.length;) {
    const size = cut ? 1 + Math.floor(cut() * 7) : bytes.length;
    await new Promise((resolve) => reader.write(bytes.subarray(from, from + size), resolve));
    // Lets the other end read before the next piece joins this one in its buffer.
    if (cut) await new Promise((resolve) => setImmediate(resolve));
    from += size;
  }
}
