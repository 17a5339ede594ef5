// Starts and stops servers on free ports, for the fakes and the sites of the tests.

/**
 * Binds a server of HTTP or TCP to a free port of 127.0.0.1, and returns the port.
 * @param {import("node:net").Server} server
 */
export async function listenOnFreePort(server) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  return /** @type {import("node:net").AddressInfo} */ (server.address()).port;
}

/** Stops a server, and ends the connections that are open. @param {import("node:http").Server} server */
export function closeServer(server) {
  server.closeAllConnections();
  server.close();
}
