/** What a program says of itself: it holds until something else is said, over any number of connections. */

/** What nobody waits for, and is refused for the moment, is said once more after this. */
const PAUSE_MS = 2_000;

/**
 * @typedef {PromiseWithResolvers<any>} Asker
 * @typedef {{turn: number, what: any, askers: Asker[]}} Saying
 */

/** Something of which the newest counts. What was said and is not `nothing` is said again on the next connection. */
export class Statement {
  /** What the server was told, and is told again on the next connection. */ #holds;
  /** What the server knows on the present connection, if that is known. */ #known = /** @type {any} */ (undefined);
  /** What it is to be told, and from when on. @type {(Saying & {at: number})|null} */ #unsaid = null;
  /** What it was told on the present connection and has not answered. @type {Map<number, Saying>} */ #sent = new Map();
  #turn = 0;

  /** @param {any} nothing  what nobody needs to be told */
  constructor(nothing) {
    this.nothing = nothing;
    this.#holds = nothing;
  }

  /** What the server knows already, or is being told, is not said a second time. @param {any} what  @param {Asker} asker */
  say(what, asker) {
    const last = [...this.#sent.values()].at(-1);
    if (!this.#unsaid && last && last.what === what) return void last.askers.push(asker);
    if (!this.#unsaid && !last && this.#known === what) return asker.resolve(undefined);
    this.#putBack({ turn: ++this.#turn, what, askers: [asker] });
  }

  /** Of two, what was said later counts, for everybody who waits. */
  #putBack(/** @type {Saying} */ saying) {
    const [older, newer] = [this.#unsaid ?? saying, saying].sort((a, b) => a.turn - b.turn);
    const askers = older === newer ? saying.askers : [...newer.askers, ...older.askers];
    this.#unsaid = { turn: newer.turn, what: newer.what, askers, at: 0 };
  }

  /** The connection is lost: what was not answered is said again. */
  lose() {
    this.forget();
    for (const saying of this.#sent.values()) this.#putBack(saying);
    this.#sent.clear();
  }

  /** Whoever listened knows nothing any more. */
  forget() {
    this.#known = undefined;
  }

  /** Whoever listens now knows nothing: what holds is said again, unless something newer is about to be. */
  renew() {
    this.forget();
    if (this.#unsaid || this.#sent.size || this.#holds === this.nothing) return;
    this.#unsaid = { turn: this.#turn, what: this.#holds, askers: [], at: 0 };
  }

  /** When something is to be said; none if there is nothing. @returns {number} */
  get due() {
    return this.#unsaid?.at ?? Infinity;
  }

  /** Takes what is to be said now, under a request's number. @param {number} id  @returns {any} */
  send(id) {
    const saying = /** @type {Saying} */ (this.#unsaid);
    this.#unsaid = null;
    this.#sent.set(id, saying);
    return saying.what;
  }

  /** The server has heard; answers whether this request was one of these. @param {number} id */
  settle(id) {
    const saying = this.#take(id);
    if (!saying) return false;
    this.#holds = this.#known = saying.what;
    for (const asker of saying.askers) asker.resolve(undefined);
    return true;
  }

  /**
   * The server refuses; answers whether this request was one of these.
   * @param {number} id
   * @param {import('./problem.js').Problem} problem
   * @param {boolean} isLate  it was on its way when the room was lost, and is said again there
   */
  refuse(id, problem, isLate) {
    const saying = this.#take(id);
    if (!saying) return false;
    if (isLate) this.#putBack(saying);
    else if (saying.askers.length || !problem.isRetryable) for (const asker of saying.askers) asker.reject(problem);
    else if (!this.#unsaid && !this.#sent.size) {
      this.#unsaid = { ...saying, at: Date.now() + Math.max(problem.retryAfterMs, PAUSE_MS) };
    }
    return true;
  }

  /**
   * Ends it: whoever waits for what was not said is told so. Answers who waits for which request.
   * @param {import('./problem.js').Problem} problem
   * @returns {[number, Asker[]][]}
   */
  giveUp(problem) {
    for (const asker of this.#unsaid?.askers ?? []) asker.reject(problem);
    this.#unsaid = null;
    return [...this.#sent].map(([id, { askers }]) => [id, askers]);
  }

  #take(/** @type {number} */ id) {
    const saying = this.#sent.get(id);
    this.#sent.delete(id);
    return saying;
  }
}
