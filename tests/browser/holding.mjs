// Work on a page that goes no further than a test lets it, however fast the machine is, and however long the test itself is kept waiting.

/** Runs in the page: messages of that call are kept from engines from now on, but for so many of them, until `globalThis.letGo()`. */
function hold({ call, most }) {
  const { prototype } = globalThis.Worker;
  const { postMessage } = prototype;
  const kept = [];
  let sent = 0;
  prototype.postMessage = function (message, ...rest) {
    const post = () => postMessage.call(this, message, ...rest);
    if (message?.call !== call || sent++ < most) post();
    else kept.push(post);
  };
  globalThis.letGo = () => {
    prototype.postMessage = postMessage;
    for (const post of kept.splice(0)) post();
  };
}

/** No run of the page is prepared until {@link letGo}, or until the page is another one. */
export const holdRuns = (page) => page.evaluate(hold, { call: "prepare", most: 0 });

/** A run asks its engine for each step: it makes so many until {@link letGo}, or until the page is another one, and can be stopped all the while. */
export const holdSteps = (page, most) => page.evaluate(hold, { call: "train_step", most });

export const letGo = (page) => page.evaluate(() => globalThis.letGo());

/** Runs in the page: of the next answer it hears so many pieces, and the others and the end once `globalThis.letGo()` is called. */
function hear(most) {
  const { prototype } = globalThis.Worker;
  const { postMessage } = prototype;
  prototype.postMessage = function (message, ...rest) {
    if (message?.call === "generate") {
      prototype.postMessage = postMessage;
      const { onmessage } = this;
      const kept = [];
      let heard = 0;
      this.onmessage = (event) => {
        if (event.data.id !== message.id || heard++ < most) onmessage.call(this, event);
        else kept.push(event);
      };
      globalThis.letGo = () => {
        this.onmessage = onmessage;
        for (const event of kept) onmessage.call(this, event);
      };
    }
    postMessage.call(this, message, ...rest);
  };
}

/** The next answer on the page comes so far until {@link letGo}. */
export const holdAnswer = (page, pieces) => page.evaluate(hear, pieces);
