/** Which messages of a channel were told of. */

/**
 * Holes that are remembered. A replay of the whole window leaves 3 333 at most until the messages come that were edited in it;
 * retention leaves some behind. A channel with more is a channel of holes.
 */
const MAX_RANGES = 8_192;

/** Their numbers, as ranges: one range as long as nothing is missing. */
export class Seen {
  /** First and last number of each range, ascending. @type {[number, number][]} */ #ranges = [];

  /** @param {number} seq */
  contains(seq) {
    const range = this.#ranges[this.#at(seq)];
    return Boolean(range) && seq <= range[1];
  }

  /**
   * Whether a message was passed over: later and earlier ones were told of, and it was not. A replay tells of each message
   * at the place of its newest change, so one that was edited comes behind later ones.
   * @param {number} seq
   */
  passedOver(seq) {
    return !this.contains(seq) && this.#ranges.length > 0 && this.#ranges[0][0] < seq;
  }

  /** Adds a number that was not contained. @param {number} seq */
  insert(seq) {
    const at = this.#at(seq);
    const [before, after] = [this.#ranges[at], this.#ranges[at + 1]];
    const follows = before?.[1] === seq - 1;
    const last = after?.[0] === seq + 1 ? after[1] : seq;
    if (last !== seq) this.#ranges.splice(at + 1, 1);
    if (follows) before[1] = last;
    else this.#ranges.splice(at + 1, 0, [seq, last]);
    if (this.#ranges.length > MAX_RANGES) this.#closeOldestHole();
  }

  clear() {
    this.#ranges = [];
  }

  /** The last range that begins at a number or before it; -1 if none does. */
  #at(/** @type {number} */ seq) {
    return this.#ranges.findLastIndex(([first]) => first <= seq);
  }

  #closeOldestHole() {
    const [[first], [, last]] = this.#ranges;
    this.#ranges.splice(0, 2, [first, last]);
  }
}
