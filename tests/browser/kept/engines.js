// A shared worker that outlives the pages of its site, with an engine for each trainer of theirs. They have one
// WebAssembly module and one GPU device, so that it and a shader are compiled once: SwiftShader takes seconds for that,
// and most tests are not about it.
import "./device.js";
import { Engine } from "/tabtune/worker.js";

self.onconnect = ({ ports: [port] }) => {
  const engine = new Engine((reply) => port.postMessage(reply));
  const lock = `tabtune-worker:${crypto.randomUUID()}`;
  let release;
  void navigator.locks.request(lock, () => {
    port.postMessage({ lock });
    return new Promise((resolve) => (release = resolve));
  });
  const end = () => {
    engine.close();
    release?.();
  };
  port.onmessage = ({ data }) => {
    if (data.ends) end();
    // The page holds this lock as long as it is there.
    else if (data.page) void navigator.locks.request(data.page, end);
    else engine.receive(data);
  };
};
// A worker of a page's own is connected by a message that brings the port.
self.onmessage = self.onconnect;
