/**
 * Answers a request from the whole file that is kept. The engine asks for the head of a model's file, to learn its length and
 * version, and for ranges of it, which a service worker has to cut itself.
 */
export async function answer(request: Request, kept: Response): Promise<Response> {
  const { status, statusText, headers } = kept;
  if (request.method === "HEAD") return new Response(null, { status, statusText, headers });
  const wanted = request.headers.get("range");
  return wanted === null ? kept : partOf(await kept.blob(), wanted, headers);
}

function partOf(file: Blob, wanted: string, kept: Headers): Response {
  const headers = new Headers(kept);
  // What is kept was unpacked when it came.
  headers.delete("content-encoding");
  const range = rangeIn(wanted, file.size);
  if (range === undefined) return new Response(file, { headers });
  if (range === "none") {
    headers.set("content-range", `bytes */${file.size}`);
    headers.set("content-length", "0");
    return new Response(null, { status: 416, headers });
  }
  const [start, end] = range;
  headers.set("content-range", `bytes ${start}-${end - 1}/${file.size}`);
  headers.set("content-length", String(end - start));
  return new Response(file.slice(start, end), { status: 206, headers });
}

/**
 * The bytes that a Range header asks for, from the first to behind the last. "none" where the file has none of them, and undefined
 * for what need not be understood, such as several ranges: the whole file is a right answer to these.
 */
export function rangeIn(header: string, size: number): [start: number, end: number] | "none" | undefined {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header) ?? [];
  if (first === undefined || last === undefined || first + last === "") return undefined;
  const start = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === "" || last === "" ? size : Math.min(size, Number(last) + 1);
  if (first !== "" && last !== "" && Number(last) < start) return undefined;
  return start < end ? [start, end] : "none";
}
