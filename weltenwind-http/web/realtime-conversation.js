/** What is said on a socket and what it means, without a socket: records and wishes in, records and events out. */
import { Problem } from './problem.js';
import { Membership } from './realtime-membership.js';
import { FOR_THE_MOMENT, Posts, drawPause } from './realtime-posts.js';
import { View } from './realtime-present.js';
import { Statement } from './realtime-statement.js';

/** A room that the server could not let the program into, or could not keep up, is asked for again after this at the earliest. */
const ROOM_PAUSE_MS = 2_000;
/** Pauses between tries of what is refused for the moment. */
const PAUSES_MS = { shortest: 500, longest: 20_000 };

/** @typedef {import('./realtime-posts.js').Pauses} Pauses */

/** The state of a conversation over any number of connections. */
export class Conversation {
  /** What the present connection is called in the server's log. */ connection = '';
  /** @type {Map<string, Membership>} */ #rooms = new Map();
  /** @type {Posts} */ #posts;
  /** Whether somebody looks at the program. */ #foreground = new Statement(false);
  /**
   * Requests of the present connection that are not made again on the next.
   * @type {Map<number, import('./realtime-statement.js').Asker[]>}
   */
  #asks = new Map();
  /** Sends a record on the present connection; none without one. @type {((record: any) => void)|null} */ #send = null;
  #lastId = 0;
  #timer = 0;

  /**
   * @param {number} pendingPosts  how many posts may wait for their acknowledgement
   * @param {(type: string, detail: any) => void} tell  what the program hears
   * @param {Pauses} [pauses]  between tries of what is refused for the moment
   */
  constructor(pendingPosts, tell, pauses = PAUSES_MS) {
    this.#posts = new Posts(pendingPosts, pauses);
    this.tell = tell;
    /** Between tries of a room. */ this.pauses = { ...pauses, shortest: ROOM_PAUSE_MS };
  }

  /** How many posts wait for their acknowledgement. */
  get waiting() {
    return this.#posts.length;
  }

  /** A connection is open: every room is joined from where it was left. @param {(record: any) => void} send */
  open(send) {
    this.#send = send;
    this.connection = '';
    this.#foreground.renew();
    this.#passTime();
  }

  /** The connection is lost: whatever was not answered is asked for again on the next. @param {boolean} keepsPositions */
  lose(keepsPositions) {
    this.#send = null;
    clearTimeout(this.#timer);
    this.#posts.putAllBack();
    this.#foreground.lose();
    for (const membership of this.#rooms.values()) {
      membership.want();
      membership.state.lose();
      if (!keepsPositions) membership.losePosition();
    }
    this.#dismiss(new Problem({ code: 'not-connected' }));
  }

  /** Nothing follows: whoever waits for an answer is told so. @param {Problem} problem */
  end(problem) {
    this.lose(true);
    for (const room of [...this.#rooms.keys()]) this.#forget(room, problem);
    for (const [, askers] of this.#foreground.giveUp(problem)) askers.forEach((asker) => asker.reject(problem));
    this.#posts.end(problem);
  }

  /** @param {string} room  @param {string|null} since */
  join(room, since) {
    const asker = Promise.withResolvers();
    if (this.#rooms.has(room)) asker.reject(new Problem({ code: 'already-joined' }));
    else this.#rooms.set(room, new Membership(since, asker));
    this.#passTime();
    return asker.promise;
  }

  /** @param {string} room */
  leave(room) {
    const membership = this.#rooms.get(room);
    if (!membership) return;
    if (membership.standing !== 'wanted') this.#request({ t: 'leave', room });
    this.#forget(room, new Problem({ code: 'not-joined' }));
    this.#sendPosts();
  }

  /** @param {string} room  @param {string} body  @param {{clientId?: string, replyTo?: string}} draft */
  publish(room, body, draft) {
    if (!room.startsWith('channel:')) return Promise.reject(new Problem({ code: 'not-a-channel' }));
    const posted = this.#posts.push(room, body, draft);
    this.#sendPosts();
    return posted;
  }

  /** @param {string} room  @param {string|null} state */
  say(room, state) {
    const asker = Promise.withResolvers();
    const membership = this.#rooms.get(room);
    if (!membership) return this.#ask({ t: 'presence', room, state: state ?? undefined });
    membership.state.say(state, asker);
    this.#passTime();
    return asker.promise;
  }

  /** @param {string} room */
  type(room) {
    return this.#ask({ t: 'typing', room });
  }

  /** @param {boolean} on */
  foreground(on) {
    const asker = Promise.withResolvers();
    this.#foreground.say(on, asker);
    this.#passTime();
    return asker.promise;
  }

  /** @param {string} room */
  present(room) {
    return this.#rooms.get(room)?.view?.present() ?? null;
  }

  /** Sends a newer token. @param {string} token */
  refresh(token) {
    this.#request({ t: 'refresh', token });
  }

  /** Takes a record of the server's; throws if it does not keep to the protocol. @param {any} record */
  take(record) {
    const { t, id, room } = record;
    const membership = this.#rooms.get(room);
    // Of a room that was left, or is asked for anew, nothing is told.
    const heard = membership?.standing === 'joined' ? membership : null;
    switch (t) {
      case 'welcome':
        this.connection = record.conn;
        return;
      case 'joined':
        if (membership?.standing === 'asked' && membership.askedAs === id) this.#joined(membership, record);
        return;
      case 'msg':
      case 'update': {
        const type = heard?.take(t, record.cursor, record.message);
        if (type) this.tell(type, { room, message: record.message, cursor: record.cursor });
        return;
      }
      case 'gap':
        heard?.miss(record.cursor);
        if (heard) this.tell('gap', { room, cause: record.cause, cursor: record.cursor });
        return;
      case 'live':
        if (heard) heard.failures = 0;
        if (heard) this.tell('live', { room });
        return;
      case 'presence': {
        const change = heard?.view?.take(record);
        if (change === 'hole') this.#joinAnew(room);
        else if (change) this.tell('presence', { room, ...change });
        return;
      }
      case 'typing':
        if (heard) this.tell('typing', { room, user: record.user, displayName: record.displayName });
        return;
      case 'notice':
        this.tell('notice', { room, kind: record.kind, id: record.id });
        return;
      case 'ok':
        return this.#done(id, record.message);
      case 'err':
        return this.#refused(id, new Problem(record));
      case 'left':
        // Otherwise it was left as the program asked, or is asked for anew: the answer to that tells how it stands.
        if (heard && id == null) this.#takenAway(room, heard, record.code ?? '');
        return;
      case 'ping':
        this.#send?.({ t: 'pong' });
    }
    // A kind of record that this client does not know is passed over: a newer server may send some.
  }

  /** Makes a request on the present connection; answers its number. */
  #request(/** @type {any} */ record) {
    this.#send?.({ ...record, id: ++this.#lastId });
    return this.#lastId;
  }

  /** Makes a request that is lost with the connection. */
  #ask(/** @type {any} */ record) {
    const asker = Promise.withResolvers();
    if (this.#send) this.#asks.set(this.#request(record), [asker]);
    else asker.reject(new Problem({ code: 'not-connected' }));
    return asker.promise;
  }

  /** Does what is due: rooms are asked for, messages sent again, and what the program says of itself is said. */
  #passTime() {
    clearTimeout(this.#timer);
    if (!this.#send) return;
    const now = Date.now();
    let next = Infinity;
    const say = (/** @type {Statement} */ statement, /** @type {(what: any) => any} */ record) => {
      if (statement.due > now) next = Math.min(next, statement.due);
      else this.#send?.({ ...record(statement.send(++this.#lastId)), id: this.#lastId });
    };
    say(this.#foreground, (on) => ({ t: 'foreground', on }));
    for (const [room, membership] of this.#rooms) {
      const { standing, at, state } = membership;
      if (standing === 'joined') say(state, (what) => ({ t: 'presence', room, state: what ?? undefined }));
      else if (standing === 'wanted' && at > now) next = Math.min(next, at);
      else if (standing === 'wanted') this.#askFor(room, membership);
    }
    this.#sendPosts();
    next = Math.min(next, this.#posts.due(now));
    if (next < Infinity) this.#timer = setTimeout(() => this.#passTime(), next - now);
  }

  #askFor(/** @type {string} */ room, /** @type {Membership} */ membership) {
    membership.ask(this.#request({ t: 'join', room, since: membership.cursor ?? undefined }));
  }

  #joinAnew(/** @type {string} */ room) {
    this.#request({ t: 'leave', room });
    this.#rooms.get(room)?.want();
    this.#passTime();
  }

  /**
   * Sends what waits. A message for a room that is about to be joined waits for that; one for a room that nobody joined is sent,
   * and refused by the server in its words.
   */
  #sendPosts() {
    const isJoined = (/** @type {string} */ room) => (this.#rooms.get(room)?.standing ?? 'joined') === 'joined';
    this.#posts.send(Date.now(), (room) => this.#send !== null && isJoined(room), (record) => this.#request(record));
  }

  #joined(/** @type {Membership} */ membership, /** @type {any} */ record) {
    const { room, cursor, presence } = record;
    if (membership.joined(record)) this.tell('gap', { room, cause: 'cursor', cursor: cursor ?? null });
    if (presence) {
      membership.view ??= new View();
      this.tell('presence', { room, ...membership.view.renew(presence) });
    }
    this.#passTime();
  }

  #done(/** @type {number} */ id, /** @type {any} */ message) {
    const post = this.#posts.find(id);
    if (post) {
      if (!message) throw new Problem({ code: 'unreadable', detail: `The answer to post ${id} has no message.` });
      this.#posts.stored(post, message);
      this.#sendPosts();
    } else if (this.#asks.has(id)) {
      for (const asker of this.#asks.get(id) ?? []) asker.resolve(undefined);
      this.#asks.delete(id);
    } else if (!this.#foreground.settle(id)) {
      [...this.#rooms.values()].some(({ state }) => state.settle(id));
    }
  }

  #refused(/** @type {number|null} */ id, /** @type {Problem} */ problem) {
    if (!id) return console.error(`The server cannot read a record: ${problem.message} (${problem.correlationId})`);
    for (const [room, membership] of this.#rooms) {
      if (membership.standing === 'asked' && membership.askedAs === id) return this.#joinRefused(room, membership, problem);
    }
    const isLate = (/** @type {string} */ room) => problem.code === 'not-joined' && this.#rooms.has(room)
      && this.#rooms.get(room)?.standing !== 'joined';
    const post = this.#posts.find(id);
    if (post && isLate(post.room)) {
      // The room was lost while the message was on its way; it goes once the room is joined again.
      post.sentAs = 0;
    } else if (post) {
      this.#posts.refuse(post, problem);
      this.#passTime();
    } else if (this.#asks.has(id)) {
      for (const asker of this.#asks.get(id) ?? []) asker.reject(problem);
      this.#asks.delete(id);
    } else if (this.#foreground.refuse(id, problem, false)
      || [...this.#rooms].some(([room, { state }]) => state.refuse(id, problem, isLate(room)))) {
      this.#passTime();
    }
  }

  /** @param {string} room  @param {Membership} membership  @param {Problem} problem */
  #joinRefused(room, membership, problem) {
    if (membership.asker) {
      membership.asker.reject(problem);
      membership.asker = null;
      this.#forget(room, problem);
      this.#sendPosts();
    } else if (problem.code === 'cursor-invalid') {
      membership.losePosition();
      membership.want();
      this.#passTime();
    } else if (problem.code === 'already-joined') {
      // The server thinks otherwise, so it is told to begin anew.
      this.#joinAnew(room);
    } else if (problem.isRetryable || FOR_THE_MOMENT.includes(problem.code)) {
      this.#wait(membership, problem.retryAfterMs);
    } else {
      this.#giveAway(room, problem);
    }
  }

  /** The server takes a room away: for good, or because it cannot read it for the moment. */
  #takenAway(/** @type {string} */ room, /** @type {Membership} */ membership, /** @type {string} */ code) {
    if (!FOR_THE_MOMENT.includes(code)) return this.#giveAway(room, new Problem({ code }));
    this.#wait(membership, 0);
  }

  /** The server cannot let the program in for the moment, and asks for a pause, perhaps none. */
  #wait(/** @type {Membership} */ membership, /** @type {number} */ askedMs) {
    membership.want(Math.max(askedMs, drawPause(this.pauses, ++membership.failures)));
    this.#passTime();
  }

  #giveAway(/** @type {string} */ room, /** @type {Problem} */ problem) {
    this.#forget(room, problem);
    this.tell('left', { room, code: problem.code, problem });
    // Messages that waited for the room are refused by the server.
    this.#sendPosts();
  }

  #forget(/** @type {string} */ room, /** @type {Problem} */ problem) {
    const membership = this.#rooms.get(room);
    this.#rooms.delete(room);
    membership?.asker?.reject(problem);
    for (const [id, askers] of membership?.state.giveUp(problem) ?? []) this.#asks.set(id, askers);
  }

  /** Whoever waits for an answer on this connection waits in vain. */
  #dismiss(/** @type {Problem} */ problem) {
    for (const askers of this.#asks.values()) askers.forEach((asker) => asker.reject(problem));
    this.#asks.clear();
  }
}
