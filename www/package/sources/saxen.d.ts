/** What this package uses of saxen, which comes without types. */
declare module "saxen" {
  type Decode = (text: string) => string;
  export class Parser {
    on(event: "openTag", take: (name: string, attributesOf: () => Record<string, string>, decode: Decode) => void): this;
    on(event: "closeTag", take: (name: string) => void): this;
    on(event: "text", take: (value: string, decode: Decode) => void): this;
    on(event: "cdata", take: (value: string) => void): this;
    on(event: "error", take: (error: Error) => void): this;
    parse(xml: string): this;
  }
}
