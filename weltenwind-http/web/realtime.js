/**
 * The socket: live messages, exactly once and in order, over as many connections as it takes. It needs nothing of the page
 * beside it but `problem.js` and the other `realtime-….js`.
 */
import { Problem } from './problem.js';
import { Connection, getTicket } from './realtime-connection.js';
import { Conversation } from './realtime-conversation.js';
import { atRandom, drawPause } from './realtime-posts.js';

/** A connection that held for so long is no failed attempt. */
const HELD_MS = 10_000;
/** The pause after a token could not be renewed. */
const TOKEN_PAUSE_MS = 2_000;

/**
 * @typedef {{id: string, displayName: string}} Author
 * @typedef {{id: string, channelId: string, seq: number, author: Author, body: string|null, clientId?: string,
 *   replyTo?: string|null, sentAt: string, editedAt?: string|null, flags?: string[],
 *   tombstone?: {reason?: string}|null}} Message
 * @typedef {import('./realtime-present.js').Present} Present
 * @typedef {import('./realtime-present.js').Member} Member
 * @typedef {{cursor: string|null, recovered: boolean}} Joined  where the program starts from, and whether everything since the
 *   asked position follows; if not, a `gap` says why
 */

/**
 * @typedef {object} Options
 * @property {(stale?: string) => Promise<string|null>|string|null} token  answers an access token, or null if nobody is signed
 *   in; asked with one that is about to end or does not hold, another one, or null if there is none to be had. May throw
 *   while nobody can tell: it is asked again
 * @property {string} [server]  the server's address; by default the page's own
 * @property {boolean} [followsVisibility]  whether `foreground` follows the page: on while it is visible
 * @property {number} [shortestPauseMs]  the shortest pause before a lost connection is opened again, or a message sent again
 *   that the server could not store for the moment, unless the server names another; 500 by default
 * @property {number} [longestPauseMs]  the longest one: pauses are drawn at random, up to a bound that doubles with each attempt
 *   that fails; 20 000 by default
 * @property {number} [pendingPosts]  how many posts may wait for their acknowledgement; one more is refused as `queue-full`.
 *   256 by default
 */

/**
 * A socket that stays open: one connection after the other. When one breaks, the next one joins the same rooms from the
 * last position that was told of, posts that were not acknowledged are sent again under their client ids, and what the program
 * says of itself is said again. The program hears of each message once, and posts it once.
 *
 * Refusals are {@link Problem}s. Events have their members in `detail`:
 *
 * | event | detail | when |
 * | --- | --- | --- |
 * | `message` | room, message, cursor | a message that was not told of before; in its newest state, if it was changed while nobody listened |
 * | `update` | room, message, cursor | a message was edited or removed |
 * | `live` | room | everything before was replay; comes after every join, also that of a reconnect |
 * | `gap` | room, cause, cursor | something was missed and is not replayed (`window`, `epoch`, `cursor`): read the history anew |
 * | `presence` | room, join, leave, count | who is there has changed; after a join that is not the first, what changed meanwhile |
 * | `typing` | room, user, displayName | somebody is writing; show it for some seconds |
 * | `notice` | room, kind, id? | there is something new in `GET notifications`, and somebody looks; pass over other kinds |
 * | `left` | room, code, problem | the server took a room away; nothing more is heard of it |
 * | `disconnected` | problem, retryInMs | the connection was lost, and is opened again |
 * | `reconnected` | | the connection is back; what was missed follows |
 * | `closed` | problem | it is not opened again; nothing follows. `problem.code` is `ended`, with `problem.closeCode`, where the server said so |
 * | `state` | | `state` has changed |
 */
export class Realtime extends EventTarget {
  /** @type {'idle'|'connecting'|'open'|'waiting'|'closed'} */ state = 'idle';
  /** Why there is no connection at the moment. @type {Problem|null} */ problem = null;
  /** @type {Options} */ #options;
  /** @type {Conversation} */ #conversation;
  /** Why there is no further connection. @type {Problem|null} */ #over = null;
  #opened = Promise.withResolvers();
  /** @type {Connection|null} */ #connection = null;
  /** The token that carries it. */ #token = '';
  /** Ends the present pause. @type {(() => void)|null} */ #wake = null;
  #failures = 0;
  #wasOpen = false;

  /** @param {Options} options */
  constructor(options) {
    super();
    this.#options = { shortestPauseMs: 500, longestPauseMs: 20_000, pendingPosts: 256, server: location.origin, ...options };
    this.#conversation = new Conversation(this.pendingPosts, (type, detail) => this.#tell(type, detail), this.#pauses);
  }

  /**
   * Opens the socket; listen to events and join rooms before or after. A server that is away is waited for.
   * @returns {Promise<void>}  fails if there is no connection to be had, also for a defect of the server's (`internal`), or an
   *   answer below 500 that is not the server's. Once the socket was open, neither ends it, for it may pass: then only what the
   *   server refuses by name does, `session-ended` for example
   */
  open() {
    if (this.state === 'idle') this.#run();
    return this.#opened.promise;
  }

  /** Closes the socket for good. What waits for an answer fails as `closed`, a message that was sent as `outcome-unknown`. */
  close() {
    this.#finish(new Problem({ code: 'closed' }));
  }

  /** How many posts may wait for their acknowledgement. @returns {number} */
  get pendingPosts() {
    return /** @type {number} */ (this.#options.pendingPosts);
  }

  /** How many posts wait for their acknowledgement. */
  get waitingPosts() {
    return this.#conversation.waiting;
  }

  /**
   * Joins a room and stays in it, over all connections, until it is left or the server takes it away.
   * @param {string} room  `channel:<id>`, `world:<id>`, `global`
   * @param {string|null} [since]  a position after which everything is replayed first: a `roomCursor` of the history, or the
   *   `cursor` of the last event that an earlier run of the program has dealt with
   * @returns {Promise<Joined>}
   */
  async join(room, since = null) {
    this.#demand();
    return this.#conversation.join(room, since);
  }

  /** Leaves a room. @param {string} room */
  leave(room) {
    this.#conversation.leave(room);
  }

  /**
   * Posts a message to a channel that is joined. While the connection is lost, it waits for the next one. A server that fails
   * may have stored it all the same, so it is sent again under its client id, up to ten times; later messages to the same
   * room wait behind it, unless they were on their way already. One that came too often (`rate-limited`, `slow-mode`) is refused
   * at once if it was sent at once. If it had to wait before, it is sent again after the pause that the server names, up to two
   * minutes and ten times, and keeps its place.
   * @param {string} room
   * @param {string} body
   * @param {{clientId?: string, replyTo?: string}} [draft]  a client id that the program knows, so that it may post it again
   * @returns {Promise<Message>}  once it is stored; fails as `queue-full` if too much waits, and as `outcome-unknown` if nobody
   *   knows what became of it, also because the socket was closed for good: post it again under `problem.clientId`, or not at all
   */
  async publish(room, body, draft = {}) {
    this.#demand();
    return this.#conversation.publish(room, body, draft);
  }

  /**
   * Says something of oneself in a room with presence: 1 to 64 characters on one line; null for nothing any more. It holds for
   * as long as the room is joined, over all connections; of several that wait for one, the newest is said.
   * @param {string} room
   * @param {string|null} state
   * @returns {Promise<void>}
   */
  async say(room, state) {
    this.#demand();
    return this.#conversation.say(room, state);
  }

  /**
   * Tells a room that something is being written; the server passes over more than one in three seconds.
   * @param {string} room
   * @returns {Promise<void>}  fails as `not-connected` without a connection: what has passed is not told later
   */
  async typing(room) {
    this.#demand();
    return this.#conversation.type(room);
  }

  /**
   * Says whether somebody looks at the program right now, which nobody does until it is said; it holds over all connections.
   * @param {boolean} on
   * @returns {Promise<void>}
   */
  async foreground(on) {
    this.#demand();
    return this.#conversation.foreground(on);
  }

  /** Who is in a room that is joined; null in rooms without presence. @param {string} room  @returns {Present|null} */
  presence(room) {
    return this.#conversation.present(room);
  }

  /** A handle for one room, joined or not. @param {string} name */
  room(name) {
    return new Room(this, name);
  }

  #demand() {
    if (this.#over) throw this.#over;
  }

  #tell(/** @type {string} */ type, /** @type {any} */ detail = null) {
    if (!this.#over || type === 'closed') this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #set(/** @type {Realtime['state']} */ state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent('state'));
  }

  /** Opens connections, one after the other, until there is no further one. */
  async #run() {
    const { followsVisibility } = this.#options;
    const look = () => this.foreground(document.visibilityState === 'visible').catch((problem) => {
      // What is refused for good holds no longer than the refusal; without a connection it is said on the next.
      if (!this.#over) console.warn(problem);
    });
    /** @type {Next} */ let next = { pauseMs: 0, isNamed: false };
    const online = () => next.isNamed || this.#wake?.();
    const offline = () => this.#connection?.end({ reason: 'the browser is offline' });
    if (followsVisibility) document.addEventListener('visibilitychange', look);
    addEventListener('online', online);
    addEventListener('offline', offline);
    if (followsVisibility) look();

    this.#set('connecting');
    while (!this.#over) {
      await this.#sleep(next.pauseMs);
      if (this.#over) break;
      try {
        next = this.#after(await this.#connect(next));
      } catch (/** @type {any} */ error) {
        const problem = error instanceof Problem ? error : new Problem({ code: 'network', detail: String(error) });
        const { retryAfterMs: asked } = problem;
        this.problem = problem;
        if (!(this.#wasOpen ? problem.sparesTheSocket : problem.isRetryable)) this.#finish(problem);
        next = { pauseMs: Math.max(this.#backoff(), asked), isNamed: asked > 0, stale: next.stale };
      }
      if (!this.#over) this.#set('waiting');
    }

    document.removeEventListener('visibilitychange', look);
    removeEventListener('online', online);
    removeEventListener('offline', offline);
  }

  /** Decides by the class of the close code what follows. @returns {Next} */
  #after(/** @type {import('./realtime-connection.js').End} */ { code: closed, reason: why, bye, heldMs = 0 }) {
    if (heldMs >= HELD_MS) this.#failures = 0;
    const code = bye?.code ?? closed ?? 0;
    const reason = bye?.reason || why || 'the connection ended';
    const kind = Math.floor(code / 100);
    const { connection } = this.#conversation;
    if (kind === 42) {
      const detail = `The server ended the connection: ${reason} (${code}).`;
      this.#finish(new Problem({ code: 'ended', detail, correlationId: connection, closeCode: code }));
    }
    const { retryMinMs: low, retryMaxMs: high } = bye ?? {};
    const pauseMs = bye ? atRandom(low, Math.max(low, high)) : this.#backoff();
    const stale = kind === 41 ? this.#token : undefined;
    this.#conversation.lose(bye?.resume ?? true);
    if (!this.#over) {
      this.problem = new Problem({ code: 'lost', detail: `The connection was lost: ${reason}.`, correlationId: connection });
      this.#set('waiting');
      if (heldMs) this.#tell('disconnected', { problem: this.problem, retryInMs: pauseMs });
    }
    return { pauseMs, isNamed: Boolean(bye), stale };
  }

  get #pauses() {
    const { shortestPauseMs: shortest = 0, longestPauseMs: longest = 0 } = this.#options;
    return { shortest, longest };
  }

  #backoff() {
    return drawPause(this.#pauses, ++this.#failures);
  }

  /** Waits, or less if `#wake` is called. */
  #sleep(/** @type {number} */ ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      this.#wake = done;
      function done() {
        clearTimeout(timer);
        resolve(undefined);
      }
    });
  }

  /** Opens a connection, and answers how it ended. @param {Next} next */
  async #connect(next) {
    const { server = '' } = this.#options;
    let token = next.stale && await this.#options.token(next.stale);
    // A second token would be of no more use than the first.
    next.stale = undefined;
    // One that came from elsewhere cannot be renewed; the server says what is wrong with it.
    token ||= await this.#options.token();
    let answer = token && await getTicket(server, token);
    if (answer instanceof Problem && answer.isStaleToken) {
      const newer = await this.#options.token(token ?? undefined);
      if (newer) [token, answer] = [newer, await getTicket(server, newer)];
    }
    if (!token || !answer) throw new Problem({ code: 'not-signed-in' });
    if (answer instanceof Problem) throw answer;
    if (this.#over) return {};
    this.#token = token;
    const connection = new Connection(server, answer, (send) => this.#isOpen(send), (line) => this.#take(line));
    this.#connection = connection;
    return connection.ended;
  }

  #isOpen(/** @type {(record: any) => void} */ send) {
    this.#conversation.open(send);
    this.problem = null;
    this.#set('open');
    if (this.#wasOpen) this.#tell('reconnected');
    this.#wasOpen = true;
    this.#opened.resolve(undefined);
  }

  /** Takes a record. A server that does not keep to the protocol is not asked again. */
  #take(/** @type {string} */ line) {
    try {
      const record = JSON.parse(line);
      this.#conversation.take(record);
      if (record.t === 'refresh-needed') this.#renew();
      return record;
    } catch (/** @type {any} */ error) {
      const detail = `The server's record cannot be read: ${error.message}`;
      this.#finish(new Problem({ code: 'unreadable', detail, correlationId: this.#conversation.connection }));
    }
  }

  /** Goes on under another token than the one that carries the socket. If there will not be one, the server closes it. */
  async #renew() {
    const connection = this.#connection;
    while (connection && !connection.isOver) {
      try {
        const token = await this.#options.token(this.#token);
        if (!token || connection.isOver) return;
        this.#token = token;
        return this.#conversation.refresh(token);
      } catch (error) {
        console.warn('The socket’s token is not renewed yet.', error);
        await this.#sleep(TOKEN_PAUSE_MS);
      }
    }
  }

  #finish(/** @type {Problem} */ problem) {
    if (this.#over) return;
    this.#over = this.problem = problem;
    this.#conversation.end(problem);
    this.#connection?.end({});
    this.#wake?.();
    this.#opened.promise.catch(() => {}); // Whoever has not called `open` hears it as `closed`.
    this.#opened.reject(problem);
    this.#set('closed');
    this.#tell('closed', { problem });
  }
}

/** A {@link Realtime} for one room. */
export class Room {
  #realtime;

  /** @param {Realtime} realtime  @param {string} name */
  constructor(realtime, name) {
    this.#realtime = realtime;
    this.name = name;
  }

  /** See {@link Realtime.join}. @param {string|null} [since] */
  join(since) {
    return this.#realtime.join(this.name, since);
  }

  leave() {
    this.#realtime.leave(this.name);
  }

  /** See {@link Realtime.publish}. @param {string} body  @param {{clientId?: string, replyTo?: string}} [draft] */
  publish(body, draft) {
    return this.#realtime.publish(this.name, body, draft);
  }

  /** See {@link Realtime.say}. @param {string|null} state */
  say(state) {
    return this.#realtime.say(this.name, state);
  }

  /** See {@link Realtime.typing}. */
  typing() {
    return this.#realtime.typing(this.name);
  }

  /** See {@link Realtime.presence}. */
  presence() {
    return this.#realtime.presence(this.name);
  }
}

/**
 * @typedef {{pauseMs: number, isNamed: boolean, stale?: string}} Next  whether the server named the pause, and a token that does
 *   not serve any more
 */
