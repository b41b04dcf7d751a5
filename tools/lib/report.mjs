// What the command line shows while a run goes on.

/** A line that is rewritten in place on a terminal; elsewhere it is printed now and then. */
export function progress(stream = process.stdout) {
  const every_millis = 5000;
  let pending = "";
  let last = -Infinity;
  const settle = () => {
    if (pending) stream.write(stream.isTTY ? "\r\x1b[K" : `${pending}\n`);
    pending = "";
  };
  return {
    show(text) {
      pending = text;
      if (stream.isTTY) {
        stream.write(`\r\x1b[K${text.slice(0, stream.columns - 1)}`);
      } else if (performance.now() - last >= every_millis) {
        settle();
        last = performance.now();
      }
    },
    say(text) {
      settle();
      stream.write(`${text}\n`);
    },
    end: settle,
  };
}

export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

export function seconds(count) {
  if (count < 60) return `${count.toFixed(0)} s`;
  return `${Math.floor(count / 60)} min ${String(Math.floor(count % 60)).padStart(2, "0")} s`;
}

/** Browsers often keep a GPU's name to themselves. */
export function gpuLine({ name, backend, is_software }) {
  return `${name || "unnamed"}${is_software && backend !== "cpu" ? " (software, on the processor)" : ""}, ${backend}`;
}

export function loadLine({ file, progress }) {
  return `reading ${file}${progress === undefined ? "" : ` ${progress.toFixed(0)} %`}`;
}

export function answerLine(when, question, text) {
  return `${when.padEnd(9)} Q: ${question}\n          A: ${text.trim().replaceAll("\n", "\n             ")}`;
}
