/**
 * What comes piece by piece: `for await` gives the pieces as they come. Awaited as it is, it runs to its end and
 * gives the whole, so that `await trainer.train(dataset)` trains.
 *
 * Like any promise it is resolved where an async function returns it: hand it on inside of an object instead.
 */
export type Stream<Piece, Result, Whole> = AsyncGenerator<Piece, Result, undefined> & PromiseLike<Whole>;

/** A stream of what a generator gives; `whole` makes of all pieces and the result what awaiting it gives. */
export function streamOf<Piece, Result, Whole>(
  pieces: AsyncGenerator<Piece, Result, undefined>,
  whole: (pieces: Piece[], result: Result) => Whole,
): Stream<Piece, Result, Whole> {
  return new GeneratorStream(pieces, whole);
}

// No declaration of it is published: its methods have names that older libraries of TypeScript do not know.
class GeneratorStream<Piece, Result, Whole> implements Stream<Piece, Result, Whole> {
  readonly #pieces: AsyncGenerator<Piece, Result, undefined>;
  readonly #whole: (pieces: Piece[], result: Result) => Whole;
  /** What awaiting it gives, however often. */
  #rest: Promise<Whole> | undefined;

  constructor(pieces: AsyncGenerator<Piece, Result, undefined>, whole: (pieces: Piece[], result: Result) => Whole) {
    this.#pieces = pieces;
    this.#whole = whole;
  }

  /** The next piece. */
  next(): Promise<IteratorResult<Piece, Result>> {
    return this.#pieces.next();
  }

  /** Ends it early, as leaving a loop does. */
  return(value: Result | PromiseLike<Result>): Promise<IteratorResult<Piece, Result>> {
    return this.#pieces.return(value);
  }

  /** Ends it with an error. */
  throw(error: unknown): Promise<IteratorResult<Piece, Result>> {
    return this.#pieces.throw(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pieces.return(undefined as Result);
  }

  /** Takes all pieces that are left. */
  then<A = Whole, B = never>(
    fulfilled?: ((whole: Whole) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return (this.#rest ??= this.#takeRest()).then(fulfilled, rejected);
  }

  async #takeRest(): Promise<Whole> {
    const pieces: Piece[] = [];
    while (true) {
      const { done, value } = await this.#pieces.next();
      if (done) return this.#whole(pieces, value);
      pieces.push(value);
    }
  }
}
