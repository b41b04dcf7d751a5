// Waiting for what was begun, by turns of the event loop: a machine that does something else has fewer of them and no fewer are needed.

/** So many turns as nothing that is played takes to come to rest. */
export async function settled() {
  for (let turns = 0; turns < 30; turns++) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** Waits for what other work brings about, and lets that come to rest; what never comes is for the test to tell. */
export async function until(is_so) {
  for (let times = 0; times < 200 && !is_so(); times++) await settled();
  await settled();
}
