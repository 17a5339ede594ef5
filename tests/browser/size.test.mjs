// Measures the download of the widget: the bytes of every part, as the binary sends it.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { get } from "node:http";
import { after, before, test } from "node:test";

import { startDemo } from "./servers.mjs";

/** Most bytes that all parts of the widget may have on the wire. */
const MAX_BYTES = 15_000;

/** @type {import("./servers.mjs").Docent} */
let docent;

before(async () => {
  docent = await startDemo();
});
after(() => docent?.stop());

/**
 * Returns the length of the body on the wire, which `fetch` would unpack.
 * @param {string} path @returns {Promise<number>}
 */
const measureDownload = (path) =>
  new Promise((resolve, reject) => {
    const headers = { "accept-encoding": "gzip" };
    const request = get(docent.url + path, { headers, agent: false }, async (response) => {
      try {
        assert.equal(response.statusCode, 200, path);
        assert.equal(response.headers["content-encoding"], "gzip", path);
        let bytes = 0;
        for await (const chunk of response) bytes += chunk.length;
        resolve(bytes);
      } catch (error) {
        reject(error);
      }
    });
    request.on("error", reject);
  });

test("the widget is at most 15 kB", async (t) => {
  const folder = new URL("../../static/widget", import.meta.url);
  const modules = readdirSync(folder).filter((name) => name.endsWith(".js"));
  assert.ok(modules.length > 0);
  let sum = 0;
  for (const path of ["/widget.js", ...modules.map((name) => `/widget/${name}`)]) {
    const bytes = await measureDownload(path);
    assert.ok(bytes > 100, `${path} is empty`);
    t.diagnostic(`${path}: ${bytes} bytes`);
    sum += bytes;
  }
  t.diagnostic(`${sum} of ${MAX_BYTES} bytes`);
  assert.ok(sum <= MAX_BYTES, `${sum} bytes`);
});
