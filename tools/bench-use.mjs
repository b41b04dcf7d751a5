// What `./build.sh bench use` runs: some minutes of use of the page, and what grows by it.
import { openUse } from "../tests/browser/using.mjs";

const at = process.argv.indexOf("--minutes");
const minutes = at < 0 ? 10 : Number(process.argv[at + 1]);
if (!(minutes > 0)) {
  console.error('error[bad-option]: --minutes must be a number above 0');
  process.exit(1);
}

const ends = [];
const { begin, round, measure, complaints } = await openUse({ after: (end) => ends.push(end) });
const started = Date.now();
await begin();
console.log("| minute | round | memory, MB | kept, as shown | things | storage, MB |\n| --- | --- | --- | --- | --- | --- |");
for (let rounds = 1; Date.now() - started < 60_000 * minutes; rounds++) {
  await round();
  const { memory, shown, storage, things } = await measure();
  const count = Object.values(things).reduce((sum, count) => sum + count, 0);
  console.log(`| ${((Date.now() - started) / 60_000).toFixed(1)} | ${rounds} | ${(memory / 1e6).toFixed(1)} | ${shown} | ${count} | ${(storage / 1e6).toFixed(2)} |`);
}
for (const complaint of complaints) console.error(complaint);
for (const end of ends) await end();
