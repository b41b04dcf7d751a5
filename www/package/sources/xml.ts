import { Parser } from "saxen";

/** What is done with the parts of a document. Names come without their prefixes. */
interface Visitor {
  open?(element: string, attributes: Map<string, string>): void;
  close?(element: string): void;
  text?(text: string): void;
}

/** Goes through an XML document from its start to its end. What is no XML throws. */
export function walk(xml: string, { open, close, text }: Visitor): void {
  const parser = new Parser();
  parser.on("openTag", (name, attributesOf, decode) => {
    if (!open) return;
    // An attribute without a prefix comes before its namesake with one.
    const attributes = new Map<string, string>();
    for (const [key, value] of Object.entries(attributesOf())) {
      const plain = withoutPrefix(key);
      if (plain === key || !attributes.has(plain)) attributes.set(plain, decode(value));
    }
    open(withoutPrefix(name), attributes);
  });
  if (close) parser.on("closeTag", (name) => close(withoutPrefix(name)));
  if (text) {
    parser.on("text", (value, decode) => text(decode(value)));
    parser.on("cdata", (value) => text(value));
  }
  parser.on("error", (error) => {
    throw error;
  });
  parser.parse(xml);
}

function withoutPrefix(name: string): string {
  return name.slice(name.indexOf(":") + 1);
}
