/** The socket: joins channels from their cursor, publishes, and comes back after a loss. */
const ANSWER_MS = 20_000;

/** @typedef {import('./channel.js').Channel} Channel */
/** @typedef {import('./channel.js').Draft} Draft */

/** Fires `state` (see `state` and `closeCode`), and `refused` when a channel may not be joined. */
export class Realtime extends EventTarget {
  /** @type {'idle'|'connecting'|'open'|'offline'|'stopped'} */ state = 'idle';
  closeCode = 0;
  /** @type {Map<string, Channel>} */ #channels = new Map();
  /** @type {Map<number, (answer: any) => void>} */ #calls = new Map();
  /** @type {WebSocket|null} */ #socket = null;
  /** @type {any} */ #bye = null;
  /** Counts connections; whatever belongs to an older one is void. */ #run = 0;
  #nextId = 1;
  #attempt = 0;
  #retry = 0;
  #watch = 0;
  #heard = 0;
  #silence = 0;

  /** @param {import('./api.js').Api} api */
  constructor(api) {
    super();
    this.api = api;
    addEventListener('online', () => this.state === 'offline' && this.#connect());
    addEventListener('offline', () => this.#socket && this.#lost(1006));
  }

  start() {
    this.#attempt = 0;
    this.#connect();
  }

  stop() {
    this.#close();
    this.#set('idle');
  }

  /** Keeps a loaded channel live from now on. @param {Channel} channel */
  add(channel) {
    if (this.#channels.has(channel.room)) return;
    this.#channels.set(channel.room, channel);
    if (this.state === 'open') this.#join(channel);
  }

  /** Sends now, or once the channel is live again. @param {Channel} channel  @param {Draft} draft */
  publish(channel, draft) {
    draft.state = 'sending';
    draft.askedAt = 0;
    if (this.state === 'stopped' || channel.refused) channel.fail(draft, channel.refused ?? { code: 'network' });
    else if (channel.live) this.#publish(channel, draft);
  }

  /** Hands the socket a new access token. @param {string} token */
  renew(token) {
    if (this.state === 'open') this.#call({ t: 'refresh', token });
  }

  async #connect() {
    this.#close();
    const run = this.#run;
    this.#set(this.#attempt ? 'offline' : 'connecting');
    const answer = await this.api.request('POST', '/realtime/tickets', { body: {} }).catch((problem) => ({ problem }));
    if (run !== this.#run || !this.api.session) return;
    if (answer.problem) return this.#later({ retryMinMs: answer.problem.retryAfterMs || 500 });
    const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/realtime/v1`,
      ['weltenwind.v1', `ticket.${answer.ticket}`]);
    this.#socket = socket;
    this.#heard = Date.now();
    this.#silence = 15_000;
    this.#watch = setInterval(() => this.#check(), 5_000);
    socket.onclose = ({ code }) => run === this.#run && this.#lost(code);
    socket.onmessage = ({ data }) => {
      this.#heard = Date.now();
      for (const line of data.split('\n')) if (line && run === this.#run) this.#take(JSON.parse(line));
    };
  }

  /** Lets go of the socket without waiting for the other side. */
  #close() {
    this.#run++;
    this.#socket?.close();
    this.#socket = null;
    this.#calls.clear();
    clearTimeout(this.#retry);
    clearInterval(this.#watch);
    for (const channel of this.#channels.values()) Object.assign(channel, { live: false, refused: null });
  }

  async #lost(/** @type {number} */ code) {
    const bye = this.#bye;
    this.#bye = null;
    this.closeCode = code >= 4000 ? code : bye?.code ?? code;
    this.#close();
    const kind = Math.floor(this.closeCode / 100);
    if (kind === 42) return this.#set('stopped');
    const run = this.#run;
    if (kind === 41) await this.api.refresh().catch(() => {});
    if (run === this.#run && this.api.session) this.#later(bye);
  }

  /** Full jitter between half a second and a bound that doubles up to 20 s, or the window the server gave. */
  #later(/** @type {any} */ bye) {
    const low = bye?.retryMinMs ?? 500;
    const high = Math.max(low, bye?.retryMaxMs ?? Math.min(20_000, 1_000 * 2 ** this.#attempt));
    this.#set(this.#attempt++ || !navigator.onLine ? 'offline' : 'connecting');
    this.#retry = setTimeout(() => this.#connect(), low + Math.random() * (high - low));
  }

  /** Notices a silent connection, and a message nobody answered. */
  #check() {
    const now = Date.now();
    if (now - this.#heard > this.#silence) return this.#lost(1006);
    for (const channel of this.#channels.values()) {
      const lost = channel.outbox.filter((one) => one.state === 'sending' && one.askedAt && now - one.askedAt > ANSWER_MS);
      for (const draft of lost) channel.fail(draft, { code: 'silent' });
    }
  }

  #take(/** @type {any} */ record) {
    const channel = this.#channels.get(record.room);
    switch (record.t) {
      case 'welcome':
        this.#silence = (record.pingEverySeconds ?? 25) * 1_000 + 15_000;
        this.#set('open');
        return this.#channels.forEach((one) => this.#join(one));
      case 'msg':
      case 'update':
        return channel?.take([record.message], record.cursor);
      case 'live':
        return channel && this.#live(channel);
      case 'gap':
        return channel && this.#reload(channel, () => this.#live(channel));
      case 'left':
        return channel && record.code && this.#refused(channel, record);
      case 'joined':
      case 'ok':
      case 'err':
        this.#calls.get(record.id)?.(record);
        return this.#calls.delete(record.id);
      case 'refresh-needed':
        return this.api.refresh().catch(() => {});
      case 'ping':
        return this.#send({ t: 'pong' });
      case 'bye':
        this.#bye = record;
    }
  }

  #join(/** @type {Channel} */ channel) {
    const again = () => this.#join(channel);
    if (channel.problem) return this.#reload(channel, again);
    this.#call({ t: 'join', room: channel.room, since: channel.cursor }, (answer) => {
      const run = this.#run;
      if (answer.t !== 'err') return;
      if (/^(cursor|replay)-/.test(answer.code)) this.#reload(channel, again);
      else if (answer.retryAfterMs) setTimeout(() => run === this.#run && again(), answer.retryAfterMs);
      else this.#refused(channel, answer);
    });
  }

  /** Fetches the history anew, however long it takes, and goes on from there. */
  async #reload(/** @type {Channel} */ channel, /** @type {() => void} */ then) {
    const run = this.#run;
    await channel.load();
    if (run !== this.#run) return;
    if (channel.problem) setTimeout(() => run === this.#run && this.#reload(channel, then), 5_000);
    else then();
  }

  #live(/** @type {Channel} */ channel) {
    this.#attempt = 0;
    channel.live = true;
    for (const draft of channel.outbox) if (draft.state === 'sending') this.#publish(channel, draft);
    channel.changed();
  }

  #refused(/** @type {Channel} */ channel, /** @type {any} */ reason) {
    channel.live = false;
    channel.refused = reason;
    this.dispatchEvent(new CustomEvent('refused', { detail: reason }));
  }

  #publish(/** @type {Channel} */ channel, /** @type {Draft} */ draft) {
    draft.askedAt = Date.now();
    this.#call({ t: 'pub', room: channel.room, clientId: draft.clientId, body: draft.body }, (answer) => {
      if (answer.t === 'ok') channel.confirm(draft, answer.message);
      else channel.fail(draft, answer);
    });
  }

  #call(/** @type {any} */ record, /** @type {(answer: any) => void} */ answered = () => {}) {
    const id = this.#nextId++;
    this.#calls.set(id, answered);
    this.#send({ ...record, id });
  }

  #send(/** @type {any} */ record) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(record));
  }

  #set(/** @type {Realtime['state']} */ state) {
    this.state = state;
    this.dispatchEvent(new CustomEvent('state'));
  }
}
