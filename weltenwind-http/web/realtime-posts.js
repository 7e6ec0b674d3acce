/** Messages that wait for their acknowledgement. */
import { Problem } from './problem.js';

/** Why a room is taken away, or a request refused, for the moment only. */
export const FOR_THE_MOMENT = ['internal', 'unavailable', 'overloaded', 'timed-out'];
/** How often a message is sent that is refused for the moment; by default that takes about a minute. */
const MOST_TRIES = 10;
/** A server that asks for a longer pause is not asked again. */
const LONGEST_PAUSE_MS = 120_000;
/**
 * Of what has waited, one more message may be under way for each so many that were stored in a row. They are more than a quota
 * lets pass at once by default, so behind one that is refused for coming too often there is none that may pass.
 */
const TRUSTED_AFTER = 32;

/** Full jitter between the shortest pause and a bound that doubles up to the longest. @param {Pauses} pauses  @param {number} failures */
export const drawPause = ({ shortest, longest }, failures) =>
  atRandom(shortest, Math.max(shortest, Math.min(longest, shortest * 2 ** failures)));

/** @param {number} low  @param {number} high */
export const atRandom = (low, high) => low + Math.random() * (high - low);

/** Unique enough for a message, also where crypto.randomUUID is missing (plain http). */
export const newId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');

/**
 * @typedef {import('./realtime-statement.js').Asker} Asker
 * @typedef {{shortest: number, longest: number}} Pauses  in milliseconds
 * @typedef {object} Post
 * @property {string} room
 * @property {string} clientId
 * @property {string} body
 * @property {string} [replyTo]
 * @property {number} sentAs  the request of the present connection; 0 if it was not sent there
 * @property {boolean} isUnsure  whether it may be stored: it was sent, and the server did not say what became of it
 * @property {boolean} hasWaited  whether it could not be sent at once: for want of a connection or its room, behind another one,
 *   or for a refusal that passes. Nobody stands by for its answer any more, so such a refusal is waited out
 * @property {number} failures  how often the server refused it for the moment
 * @property {number} heldUntil  it is not sent before
 * @property {Asker} asker
 */

/**
 * A queue with a bound. What is in it was not acknowledged, and is sent again under its client id: after a reconnect, and after a
 * pause if the server could not say what became of it, or could not take it yet.
 */
export class Posts {
  /** @type {Post[]} */ #waiting = [];
  /** How many were stored since one was refused for the moment, or the queue was empty. */ #storedInARow = 0;

  /** @param {number} limit  @param {Pauses} pauses  between tries of a message that is refused for the moment */
  constructor(limit, pauses) {
    this.limit = limit;
    this.pauses = pauses;
  }

  get length() {
    return this.#waiting.length;
  }

  /** @param {string} room  @param {string} body  @param {{clientId?: string, replyTo?: string}} draft */
  push(room, body, { clientId = newId(), replyTo }) {
    const asker = Promise.withResolvers();
    const fresh = { sentAs: 0, isUnsure: false, hasWaited: false, failures: 0, heldUntil: 0 };
    if (this.#waiting.length >= this.limit) asker.reject(new Problem({ code: 'queue-full' }));
    else this.#waiting.push({ room, clientId, body, replyTo, asker, ...fresh });
    return asker.promise;
  }

  /**
   * Sends everything that was not sent on this connection and may be, in order: behind a message that is held back, those for the
   * same room wait too. What has waited goes by and by, so that a refusal in its midst lets nothing overtake it; the rest goes at
   * once.
   * @param {number} now
   * @param {(room: string) => boolean} maySend
   * @param {(record: any) => number} request  makes a request, and answers its number
   */
  send(now, maySend, request) {
    const mostUnderWay = 1 + Math.floor(this.#storedInARow / TRUSTED_AFTER);
    /** @type {Map<string, {underWay: number, hasWaited: boolean, isClosed: boolean}>} */ const lines = new Map();
    for (const post of this.#waiting) {
      const { room, clientId, body, replyTo } = post;
      const line = lines.get(room) ?? { underWay: 0, hasWaited: false, isClosed: false };
      lines.set(room, line);
      if (!post.sentAs) {
        post.hasWaited ||= line.hasWaited;
        const isEarly = post.hasWaited && line.underWay >= mostUnderWay;
        if (isEarly || line.isClosed || post.heldUntil > now || !maySend(room)) {
          // One that was under way goes as it went before.
          post.hasWaited ||= !post.isUnsure;
          line.isClosed = true;
        } else {
          post.sentAs = request({ t: 'pub', room, clientId, body, replyTo });
        }
      }
      if (post.sentAs) line.underWay += 1;
      line.hasWaited ||= post.hasWaited;
    }
  }

  /** When a message is to be sent that is held back; none if there is none. @param {number} now  @returns {number} */
  due(now) {
    return Math.min(...this.#waiting.map(({ heldUntil }) => (heldUntil > now ? heldUntil : Infinity)));
  }

  /** The message that was sent as this request. @param {number} id */
  find(id) {
    return this.#waiting.find(({ sentAs }) => sentAs === id);
  }

  /** @param {Post} post  @param {any} message */
  stored(post, message) {
    this.#storedInARow += 1;
    this.#take(post).resolve(message);
  }

  /**
   * Takes a refusal. If it says nothing of what became of the message, or may pass while nobody knows that or stands by, the
   * message goes back to its place and is sent again: under its client id it is stored once. Else who posted is told.
   * @param {Post} post
   * @param {Problem} problem
   */
  refuse(post, problem) {
    const isOfTheMoment = FOR_THE_MOMENT.includes(problem.code);
    post.isUnsure ||= isOfTheMoment && problem.code !== 'overloaded';
    const mayPass = isOfTheMoment || ((post.isUnsure || post.hasWaited) && problem.isRetryable);
    if (mayPass && ++post.failures < MOST_TRIES && problem.retryAfterMs <= LONGEST_PAUSE_MS) {
      const heldUntil = Date.now() + Math.max(problem.retryAfterMs, drawPause(this.pauses, post.failures));
      Object.assign(post, { sentAs: 0, heldUntil, hasWaited: true });
      this.#storedInARow = 0;
    } else {
      this.#fail(post, problem);
    }
  }

  /** The connection is lost: nothing counts as sent, and what was may be stored. */
  putAllBack() {
    this.#storedInARow = 0;
    for (const post of this.#waiting) {
      post.isUnsure ||= post.sentAs > 0;
      post.sentAs = 0;
    }
  }

  /** Nothing follows: nobody will say what became of what was sent. @param {Problem} problem */
  end(problem) {
    this.putAllBack();
    for (const post of [...this.#waiting]) this.#fail(post, problem);
  }

  #fail(/** @type {Post} */ post, /** @type {Problem} */ problem) {
    const { isUnsure, clientId } = post;
    const detail = `Nobody knows whether the message was stored. ${problem.detail}`.trim();
    const { correlationId } = problem;
    const unknown = () => new Problem({ code: 'outcome-unknown', detail, correlationId, clientId, cause: problem });
    this.#take(post).reject(isUnsure ? unknown() : problem);
  }

  #take(/** @type {Post} */ post) {
    this.#waiting.splice(this.#waiting.indexOf(post), 1);
    if (!this.#waiting.length) this.#storedInARow = 0;
    return post.asker;
  }
}
