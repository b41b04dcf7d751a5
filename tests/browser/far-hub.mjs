// The hub as pages find it: what they ask of huggingface.co is answered by the one that is played.
import { startHub } from "./hub-server.mjs";

/** Where pages look for it, and where they are sent for large files. */
const FAR = { hub: "https://huggingface.co", cdn: "https://cdn.hf.co" };

/** Starts the hub for `model`, as `startHub` has it, which ends with the test; `reach` lets the pages of a browser context find it. */
export async function farHub(t, model) {
  const near = await startHub(model);
  t.after(() => near.close());
  const outside = (text) => Object.entries(FAR).reduce((told, [part, origin]) => told.replaceAll(near[part].origin, origin), text);
  const answer = async (route, part) => {
    const url = route.request().url().replace(FAR[part], near[part].origin);
    const response = await route.fetch({ url });
    const headers = Object.fromEntries(Object.entries(response.headers()).map(([name, value]) => [name, outside(value)]));
    const is_told = headers["content-type"]?.startsWith("application/json");
    await route.fulfill({ status: response.status(), headers, body: is_told ? outside(await response.text()) : await response.body() });
  };
  const reach = async (context) => {
    for (const [part, origin] of Object.entries(FAR)) await context.route(`${origin}/**`, (route) => answer(route, part));
  };
  return { ...near, reach };
}
