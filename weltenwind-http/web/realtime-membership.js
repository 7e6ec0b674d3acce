/** One room that the program wants to be in, and how far the program has heard of it. Both outlive connections. */
import { Seen } from './realtime-seen.js';
import { Statement } from './realtime-statement.js';

/** @typedef {import('./realtime.js').Message} Message */

export class Membership {
  /** How it stands on the present connection: to be joined, asked for, or joined. @type {'wanted'|'asked'|'joined'} */
  standing = 'wanted';
  /** When it is wanted: from when on it is asked for. */ at = 0;
  /** When it is asked for: by this request. */ askedAs = 0;
  /** How often the server could not let the program in or keep it there since all that was missed was told. */ failures = 0;
  /** What the program says of itself there. */ state = new Statement(null);
  /** Who is there; none in a room that does not tell. @type {import('./realtime-present.js').View|null} */ view = null;
  /** The position does not hold any more, which is told with the next join. */ #isLost = false;
  #seen = new Seen();

  /**
   * @param {string|null} cursor  the newest position that was told of
   * @param {PromiseWithResolvers<any>|null} asker  who waits for the first join
   */
  constructor(cursor, asker) {
    this.cursor = cursor;
    this.asker = asker;
  }

  /** @param {number} [pauseMs] */
  want(pauseMs = 0) {
    this.standing = 'wanted';
    this.state.forget();
    this.at = pauseMs && Date.now() + pauseMs;
  }

  /** @param {number} id */
  ask(id) {
    this.standing = 'asked';
    this.askedAs = id;
  }

  /** Notes that the position does not hold any more. */
  losePosition() {
    this.#isLost ||= this.cursor !== null;
    this.cursor = null;
    this.#seen.clear();
  }

  /** The room was joined; answers whether a position was lost. @param {any} record */
  joined({ cursor, recovered }) {
    this.standing = 'joined';
    this.state.renew();
    // A position that was asked for stays until something comes after it: what could not be recovered is told as a gap,
    // and that record carries the new position.
    this.cursor ??= cursor ?? null;
    this.asker?.resolve({ cursor: cursor ?? null, recovered });
    this.asker = null;
    const wasLost = this.#isLost;
    this.#isLost = false;
    return wasLost;
  }

  /**
   * Takes a message, and answers what the program hears of it: nothing if it was told of in this state. Whether it is news
   * to the program is decided by its number. The server tells as news all that was posted since a replay began, also what was
   * told before that replay was left; what comes as an update was told before, unless an older server sealed the cursor.
   * @param {'msg'|'update'} kind
   * @param {string} cursor
   * @param {Message} message
   * @returns {'message'|'update'|null}
   */
  take(kind, cursor, { seq, editedAt, tombstone }) {
    const isKnown = this.#seen.contains(seq);
    if (this.cursor === cursor || (isKnown && kind === 'msg' && !editedAt && !tombstone)) return null;
    this.cursor = cursor;
    if (isKnown || (kind === 'update' && !this.#seen.passedOver(seq))) return 'update';
    this.#seen.insert(seq);
    return 'message';
  }

  /** Something was missed: the program reads the history anew. @param {string} cursor */
  miss(cursor) {
    this.#seen.clear();
    this.cursor = cursor;
  }
}
