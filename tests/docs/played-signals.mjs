// What a browser would tell of its machine, in the hands of a test.

/**
 * Runs in a page before its scripts. Puts what the test sets in the place of the browser's signals: `played`
 * has the battery, `press` for the system's pressure, `connect` for the kind of connection, `hide` for the
 * page's visibility, `hot` to make steps look slow, `losses`: how many steps find the GPU gone, `workers`: those that
 * have engines, and `hang`, which lets nothing through to the last of them.
 */
export function playSignals() {
  const battery = Object.assign(new EventTarget(), { charging: true, level: 1 });
  const connection = Object.assign(new EventTarget(), { type: "wifi", saveData: false });
  const observers = [];
  const played = (globalThis.played = {
    battery,
    hot: false,
    losses: 0,
    press: (state) => observers.forEach((tell) => tell([{ state }])),
    connect(type) {
      connection.type = type;
      connection.dispatchEvent(new Event("change"));
    },
    workers: [],
    hang() {
      played.workers.at(-1).postMessage = () => {};
    },
    hide(hidden) {
      played.hidden = hidden;
      document.dispatchEvent(new Event("visibilitychange"));
    },
  });
  navigator.getBattery = async () => battery;
  Object.defineProperty(navigator, "connection", { value: connection });
  Object.defineProperty(document, "hidden", { get: () => played.hidden ?? false });
  globalThis.PressureObserver = class {
    constructor(tell) {
      observers.push(tell);
    }
    async observe() {}
    disconnect() {}
  };

  // Steps are asked of a worker, whose answers can be changed on their way.
  const onmessage = Object.getOwnPropertyDescriptor(Worker.prototype, "onmessage");
  globalThis.Worker = class extends Worker {
    constructor(...given) {
      super(...given);
      // The workers of the kernels are the engine's, and no engines.
      if (!String(given[0]).includes("kernel-worker")) played.workers.push(this);
    }
    postMessage(message, ...rest) {
      if (message.call !== "train_step" || played.losses === 0) return super.postMessage(message, ...rest);
      played.losses -= 1;
      const error = { code: "device-lost", message: "the test took it", context: [] };
      this.dispatchEvent(new MessageEvent("message", { data: { id: message.id, error } }));
    }
    set onmessage(receive) {
      onmessage.set.call(this, (event) => {
        const { result } = event.data;
        // A run judges its speed over half a minute, which has to go by in a few steps.
        if (result?.step_millis) result.step_millis = played.hot ? 1_000_000 : 10_000;
        receive(event);
      });
    }
  };
}
