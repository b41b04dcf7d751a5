import { TabtuneError } from "tabtune";

/** A file that lies beside the page. */
export async function served(address: string, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(address, signal ? { signal } : {});
  if (response.ok) return response;
  throw new TabtuneError({ code: "io", message: `${address}: the server answered ${response.status}`, context: [] });
}
