// Ports for the programs that tests start.
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

/** Ports that no system gives to those who ask for any, so that none is taken before the program that is told it has it. */
const PORTS = [10_000, 30_000];

/** A port of this machine that nobody listens on. */
export async function freePort() {
  for (;;) {
    const port = randomInt(...PORTS);
    const server = createServer().listen(port, "127.0.0.1");
    const is_free = await once(server, "listening").then(() => true, () => false);
    if (!is_free) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}
