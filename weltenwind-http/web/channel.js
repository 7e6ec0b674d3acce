/** One channel as this page knows it: its messages by seq, the place in its history, and what is not sent yet. */
import { Problem } from './problem.js';
import { newId } from './realtime-posts.js';

/**
 * @typedef {import('./realtime.js').Author} Author
 * @typedef {import('./realtime.js').Message} Message
 * @typedef {{clientId: string, author: Author, body: string, sentAt: string, state: 'sending'|'failed',
 *   problem?: Problem}} Draft
 */

/** Orders the states one message goes through. @param {Message} m */
const age = (m) => (m.tombstone ? Infinity : m.editedAt ? Date.parse(m.editedAt) : 0);

export class Channel {
  /** @type {Message[]} */ messages = [];
  /** @type {Draft[]} */ outbox = [];
  /** What is known is complete to here. @type {string|null} */ cursor = null;
  /** @type {string|null} */ older = null;
  /** @type {Problem|null} */ problem = null;
  loaded = false;
  loading = false;
  /** Joined on the socket, or about to be: what is said goes there. */ followed = false;
  /** Joined, and caught up. */ live = false;
  /** Why the socket may not join. @type {Problem|null} */ refused = null;
  unread = 0;
  /** How many pages of history were taken. */ pages = 0;
  /** @type {Map<string, Message>} */ #byId = new Map();
  /** @type {Map<string, string>} */ #rowKeys = new Map();
  #generation = 0;
  /** What may belong to another history, and goes once a page of this one is here. @type {Set<Message>} */ #doubtful = new Set();

  /**
   * @param {{id: string, slug: string, name: string, guestsMayPost?: boolean}} info
   * @param {import('./api.js').Api} api
   * @param {(channel: Channel, fresh: number) => void} changed
   */
  constructor(info, api, changed) {
    this.info = info;
    this.room = `channel:${info.id}`;
    this.fetch = (/** @type {string} */ query) => api.get(`/channels/${info.id}/messages?${query}`);
    this.changed = (fresh = 0) => changed(this, fresh);
  }

  /**
   * Takes the newest page in place of what was known; what came in meanwhile stays. `problem` tells of failure.
   * @param {boolean} [anew]  what was known before may belong to another history, and goes
   */
  async load(anew = false) {
    const generation = ++this.#generation;
    if (anew) this.#doubtful = new Set(this.messages);
    this.loading = true;
    this.changed();
    const page = await this.fetch('limit=50').catch((problem) => ({ problem }));
    if (generation !== this.#generation) return;
    this.loading = false;
    this.problem = page.problem ?? null;
    if (!page.problem) {
      const first = page.items.at(-1)?.seq ?? 0;
      this.messages = this.messages.filter((m) => m.seq >= first && !this.#doubtful.has(m));
      this.#doubtful.clear();
      this.#byId = new Map(this.messages.map((m) => [m.id, m]));
      for (const message of page.items) this.#put(message);
      this.cursor = page.roomCursor;
      this.older = page.nextCursor;
      this.loaded = true;
      this.pages++;
    }
    this.changed();
  }

  async loadOlder() {
    if (!this.older || this.loading) return;
    const generation = this.#generation;
    this.loading = true;
    this.changed();
    try {
      const page = await this.fetch(`limit=50&cursor=${encodeURIComponent(this.older)}`);
      if (generation !== this.#generation) return;
      for (const message of page.items) this.#put(message);
      this.older = page.nextCursor;
      this.pages++;
    } finally {
      if (generation === this.#generation) this.loading = false;
      this.changed();
    }
  }

  /** Asks for what changed, the way of whoever has no live socket. */
  async poll() {
    for (let more = true; more;) {
      const since = /** @type {string} */ (this.cursor);
      const page = await this.fetch(`limit=200&since=${encodeURIComponent(since)}`).catch((problem) => {
        if (problem.status !== 410 && problem.code !== 'cursor-invalid') throw problem;
      });
      if (!page) return this.load(true);
      if (this.live) return;
      more = Boolean(page.nextCursor) && page.roomCursor !== since;
      this.take(page.items, page.roomCursor);
    }
  }

  /**
   * Takes news from a poll or the socket. An edit of a message older than anything loaded waits for its page.
   * @param {Message[]} news
   * @param {string} [cursor]
   */
  take(news, cursor) {
    const first = this.messages[0]?.seq ?? 0;
    const fresh = news.filter((m) => (m.seq >= first || !this.older) && this.#put(m));
    if (cursor) this.cursor = cursor;
    if (news.length) this.changed(fresh.length);
  }

  /**
   * Holds what a person wrote until the server has it.
   * @param {string} body
   * @param {Author} author
   */
  draft(body, author) {
    /** @type {Draft} */
    const draft = { clientId: newId(), author, body, sentAt: new Date().toISOString(), state: 'sending' };
    this.outbox.push(draft);
    this.changed();
    return draft;
  }

  /** @param {Draft} draft  @param {Message} message */
  confirm(draft, message) {
    this.#settle(draft, message);
    this.take([message]);
  }

  /** @param {Draft} draft  @param {Problem} problem */
  fail(draft, problem) {
    draft.state = 'failed';
    draft.problem = problem;
    this.changed();
  }

  /** Whoever wrote what is not sent yet is signed in no more: it stays for them to copy, or to send as who they are then. */
  endSession() {
    for (const draft of this.outbox) if (draft.state === 'sending') this.fail(draft, new Problem({ code: 'session-over' }));
  }

  /** Makes a failed draft another person's. The name under which the first one sent it is used up. @param {Draft} draft  @param {Author} author */
  handOver(draft, author) {
    if (draft.author.id !== author.id) Object.assign(draft, { author, clientId: newId() });
  }

  /** @param {Draft} [draft]  without one, everything unsent */
  discard(draft) {
    this.outbox = this.outbox.filter((other) => draft && other !== draft);
    this.changed();
  }

  /** A message keeps the row it had while it was being sent. @param {any} item  message or draft */
  rowKey(item) {
    return this.#rowKeys.get(item.id) ?? item.id ?? item.clientId;
  }

  #settle(/** @type {Draft} */ draft, /** @type {Message} */ message) {
    this.outbox = this.outbox.filter((other) => other !== draft);
    this.#rowKeys.set(message.id, draft.clientId);
  }

  /** @returns {boolean} whether the message is new, and not one's own */
  #put(/** @type {Message} */ message) {
    const known = this.#byId.get(message.id);
    if (known && age(known) > age(message)) return false;
    this.#byId.set(message.id, message);
    let at = this.messages.length;
    while (at > 0 && this.messages[at - 1].seq > message.seq) at--;
    if (known) this.messages[at - 1] = message;
    else this.messages.splice(at, 0, message);
    const own = this.outbox.find((draft) => draft.clientId === message.clientId);
    if (own) this.#settle(own, message);
    return !known && !own;
  }
}
