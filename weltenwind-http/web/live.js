/** What keeps the page's channels on the socket, for as long as somebody is signed in. */
import { Realtime } from './realtime.js';

/** So much may wait to be sent; a person with more to say should know that nobody hears it. */
const PENDING_POSTS = 20;
/** The server passes over more than one in so long. */
const TYPING_MS = 3_000;
/** A world that could not be entered is tried again after this. */
const PAUSE_MS = 5_000;

/**
 * @typedef {import('./channel.js').Channel} Channel
 * @typedef {import('./channel.js').Draft} Draft
 * @typedef {import('./problem.js').Problem} Problem
 */

export class Live {
  /** @type {Realtime|null} */ #realtime = null;
  /** Followed or refused, by room. @type {Map<string, Channel>} */ #channels = new Map();
  /** Drafts that the socket has. @type {Set<Draft>} */ #underway = new Set();
  /** The room of the world that is looked at. @type {string|null} */ #world = null;
  #typedAt = 0;
  #typing = 0;

  /**
   * @param {import('./api.js').Api} api
   * @param {{state: () => void, closed: (problem: Problem) => void, refused: (problem: Problem) => void,
   *   present: () => void, typing: (detail: any) => void, notice: (detail: any) => void}} told
   */
  constructor(api, told) {
    this.api = api;
    this.told = told;
  }

  get state() {
    return this.#realtime?.state ?? 'idle';
  }

  /** Who is in the world, if that is known. */
  get present() {
    return this.#world ? this.#realtime?.presence(this.#world) ?? null : null;
  }

  start() {
    this.stop();
    const { told } = this;
    const token = (/** @type {string|undefined} */ stale) => this.api.token(stale);
    const realtime = new Realtime({ token, pendingPosts: PENDING_POSTS, followsVisibility: true });
    const on = (/** @type {string} */ type, /** @type {(detail: any) => void} */ act) => {
      realtime.addEventListener(type, (/** @type {any} */ { detail }) => this.#realtime === realtime && act(detail));
    };
    const take = (/** @type {any} */ { room, message, cursor }) => this.#channels.get(room)?.take([message], cursor);
    on('message', take);
    on('update', take);
    on('live', ({ room }) => this.#isLive(room));
    on('gap', ({ room }) => this.#reload(room));
    on('left', ({ room, problem }) => this.#left(room, problem));
    on('disconnected', () => this.#each((channel) => { channel.live = false; }));
    on('reconnected', () => this.#each((channel) => { channel.refused = null; }));
    on('presence', told.present);
    on('typing', told.typing);
    on('notice', told.notice);
    on('state', told.state);
    on('closed', ({ problem }) => {
      this.#each((channel) => Object.assign(channel, { live: false, followed: false }));
      told.closed(problem);
    });
    this.#realtime = realtime;
    realtime.open().catch(() => {}); // This is told as `closed`.
    this.#enter();
  }

  stop() {
    const realtime = this.#realtime;
    this.#realtime = null;
    realtime?.close();
    this.#each((channel) => Object.assign(channel, { live: false, followed: false, refused: null }));
    this.#channels.clear();
    this.told.present();
  }

  /** Notes which world is looked at: whoever is signed in is seen there. @param {string} id */
  look(id) {
    if (this.#world === `world:${id}`) return;
    this.#world = `world:${id}`;
    this.#enter();
  }

  async #enter() {
    const [realtime, world] = [this.#realtime, this.#world];
    if (!realtime || !world) return;
    await realtime.join(world).catch((/** @type {Problem} */ problem) => {
      if (this.#realtime !== realtime) return;
      if (problem.isRetryable) setTimeout(() => this.#realtime === realtime && this.#enter(), PAUSE_MS);
      else this.told.refused(problem);
    });
  }

  /** Keeps a loaded channel live from now on. @param {Channel} channel */
  async follow(channel) {
    const realtime = this.#realtime;
    if (!realtime || realtime.state === 'closed' || channel.followed || channel.refused) return;
    channel.followed = true;
    this.#channels.set(channel.room, channel);
    const joined = realtime.join(channel.room, channel.cursor);
    for (const draft of channel.outbox) if (draft.state === 'sending') this.post(channel, draft);
    await joined.catch((problem) => {
      if (this.#realtime !== realtime) return;
      channel.followed = false;
      // What may pass later, or from another position, is tried again by whoever polls.
      if (!problem.isRetryable && problem.code !== 'cursor-invalid') this.#left(channel.room, problem);
    });
  }

  /**
   * Whether no more is taken until something was sent: what the socket has, and what it is to get once a channel is followed.
   * @param {Channel[]} channels
   */
  isFull(channels) {
    const drafts = channels.flatMap(({ outbox }) => outbox).filter((draft) => draft.state === 'sending');
    const held = drafts.filter((draft) => !this.#underway.has(draft));
    return held.length + (this.#realtime?.waitingPosts ?? 0) >= PENDING_POSTS;
  }

  /** Sends now, or once the channel is followed. @param {Channel} channel  @param {Draft} draft */
  async post(channel, draft) {
    const realtime = this.#realtime;
    clearTimeout(this.#typing);
    draft.state = 'sending';
    if (!realtime || this.#underway.has(draft)) return;
    const problem = channel.refused ?? (realtime.state === 'closed' ? realtime.problem : null);
    if (problem) return channel.fail(draft, problem);
    if (!channel.followed) return;
    this.#underway.add(draft);
    try {
      channel.confirm(draft, await realtime.publish(channel.room, draft.body, { clientId: draft.clientId }));
      this.#underway.delete(draft);
    } catch (/** @type {any} */ refusal) {
      this.#underway.delete(draft);
      if (this.#realtime !== realtime) return;
      // The room was lost meanwhile: it goes once the channel is followed again, under the same name.
      if ((refusal.cause?.code ?? refusal.code) !== 'not-joined' || channel.refused) channel.fail(draft, refusal);
      else if (channel.followed) this.post(channel, draft);
    }
  }

  /** Tells who is in the channel that something is being written, now or as soon as it may. @param {Channel} channel */
  typing(channel) {
    clearTimeout(this.#typing);
    if (!channel.live) return;
    const wait = this.#typedAt + TYPING_MS - Date.now();
    if (wait > 0) {
      this.#typing = setTimeout(() => this.typing(channel), wait);
      return;
    }
    this.#typedAt = Date.now();
    // What has passed is not told later.
    this.#realtime?.typing(channel.room).catch((problem) => console.debug(problem));
  }

  #isLive(/** @type {string} */ room) {
    const channel = this.#channels.get(room);
    if (!channel) return;
    channel.live = true;
    channel.changed();
  }

  /** Something was missed: fetches the history anew, and goes on from there. What is said meanwhile waits. */
  async #reload(/** @type {string} */ room) {
    const channel = this.#channels.get(room);
    if (!channel) return;
    this.#realtime?.leave(room);
    Object.assign(channel, { live: false, followed: false });
    await channel.load(true);
    if (!channel.problem) await this.follow(channel);
  }

  #left(/** @type {string} */ room, /** @type {Problem} */ problem) {
    const channel = this.#channels.get(room);
    if (channel) Object.assign(channel, { live: false, followed: false, refused: problem });
    else this.told.present();
    this.told.refused(problem);
  }

  #each(/** @type {(channel: Channel) => void} */ act) {
    this.#channels.forEach(act);
  }
}
