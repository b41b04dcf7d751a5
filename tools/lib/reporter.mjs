// A plain report for node --test: a line per test, causes of failures, and the sum at the end.
export default async function* report(events) {
  let passed = 0;
  let failed = 0;
  for await (const { type, data } of events) {
    if (type === "test:diagnostic" && data.file !== undefined) yield `${"  ".repeat(data.nesting)}      ${data.message}\n`;
    if (type === "test:stdout" || type === "test:stderr") yield data.message;
    if (type !== "test:pass" && type !== "test:fail") continue;
    // A file is no test of its own, unless it could not be run at all.
    const is_file = data.nesting === 0 && data.name.endsWith(".test.mjs");
    if (is_file && type === "test:pass") continue;
    const took = `(${(data.details.duration_ms / 1000).toFixed(1)} s)`;
    const indent = "  ".repeat(data.nesting);
    // What was skipped has not been shown to work.
    if (type === "test:pass" && data.skip === undefined && data.todo === undefined) {
      passed += 1;
      yield `${indent}ok    ${data.name} ${took}\n`;
    } else {
      failed += 1;
      const cause = data.details.error?.cause ?? data.details.error;
      yield `${indent}FAIL  ${data.name} ${took}\n${String(cause?.stack ?? cause ?? "skipped").replace(/^/gm, `${indent}      `)}\n`;
    }
  }
  yield `\n${passed} passed, ${failed} failed\n`;
}
