/** HTTP: calls, the session, and its refresh. */
import { Problem, retryAfterMs } from './problem.js';

const CSRF = { 'X-Weltenwind-Csrf': '1' };

/** A number by which this browser is known again, so that others cannot use up its sign-ins; `undefined` if nothing is kept. */
function ownDevice() {
  const KEY = 'weltenwind-device';
  try {
    const known = localStorage.getItem(KEY) ?? [...crypto.getRandomValues(new Uint8Array(16))]
      .map((byte) => byte.toString(16).padStart(2, '0')).join('');
    localStorage.setItem(KEY, known);
    return known;
  } catch {
    return undefined;
  }
}

/** The longest pause between two questions for the session, unless the server names a longer one. */
const LONGEST_PAUSE_MS = 30_000;
/** A timer with a longer one goes off at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Fires `session` with {changed, ended}: `changed` when another session, or none, took the place of the last, and when it is
 * known for the first time who is signed in; `ended` when there was a session and now is none. Fires `doubt` with a problem when
 * nobody can tell; it is asked again.
 * @typedef {{accessToken: string, expiresIn: number, sessionId: string,
 *   user: {id: string, kind: string, displayName: string}}} Session
 */
export class Api extends EventTarget {
  /** @type {Session|null} In memory only. */
  session = null;
  /** Whether it is known who is signed in, or that nobody is. Until then nobody may sign in: that would cost a guest the account. */
  known = false;
  #doubts = 0;
  /** @type {Promise<void>|null} */ #refreshing = null;
  #timer = 0;
  #tabs = 'BroadcastChannel' in self ? new BroadcastChannel('weltenwind-session') : null;

  constructor() {
    super();
    // The cookie is shared: when another tab signs in or out, this one follows.
    this.#tabs?.addEventListener('message', () => {
      this.known &&= Boolean(this.session);
      this.refresh().catch(() => {});
    });
  }

  /**
   * @param {string} method
   * @param {string} path  below /api/v1
   * @param {{body?: any, auth?: boolean, csrf?: boolean, retry?: boolean}} [options]
   * @returns {Promise<any>}
   */
  async request(method, path, { body, auth = true, csrf = false, retry = true } = {}) {
    const token = auth ? this.session?.accessToken : undefined;
    const headers = new Headers({ Accept: 'application/json', ...(csrf ? CSRF : {}) });
    if (token) headers.set('Authorization', `Bearer ${token}`);
    if (body) headers.set('Content-Type', 'application/json');
    let response;
    try {
      const signal = AbortSignal.timeout(15_000);
      response = await fetch(`/api/v1${path}`, { method, headers, body: body && JSON.stringify(body), signal });
      if (response.ok) return response.status === 204 ? null : await response.json();
    } catch {
      throw new Problem({ code: 'network' });
    }
    if (response.status === 401 && token && retry) {
      if (this.session?.accessToken === token) await this.refresh();
      return this.request(method, path, { body, auth, csrf, retry: false });
    }
    const problem = await response.json().catch(() => ({}));
    if (!problem.retryAfter) problem.retryAfterMs = retryAfterMs(response.headers);
    throw new Problem(problem, response.status);
  }

  /** @param {string} path */
  get(path) {
    return this.request('GET', path);
  }

  /** The refresh token stays in a cookie no script can read. @param {'guest'|'login'|'register'|'bootstrap'} way
   *  @param {any} body */
  async signIn(way, body) {
    const device = way === 'bootstrap' ? {} : { device: { fingerprint: ownDevice() } };
    this.#adopt(await this.request('POST', `/auth/${way}`, { body: { ...body, ...device }, auth: false, csrf: true }));
    this.#tabs?.postMessage('changed');
  }

  async signOut() {
    await this.request('POST', '/auth/logout', { csrf: true }).catch((problem) => {
      if (problem.status !== 401) throw problem;
    });
    this.#adopt(null);
    this.#tabs?.postMessage('changed');
  }

  /** Forgets a session the server ended. */
  drop() {
    this.#adopt(null);
  }

  /**
   * Trades the cookie for a fresh access token: one refresh at a time in this tab, and across tabs where
   * the browser has locks. Ends with session null when there is none, which 401 alone says; throws when nobody can tell, and then
   * asks again by itself: no sooner than the server wants, and spread over a span that doubles.
   */
  refresh() {
    const once = async () => {
      try {
        this.#adopt(await this.request('POST', '/auth/refresh', { body: {}, auth: false, csrf: true }));
      } catch (/** @type {any} */ problem) {
        if (problem.status === 401) return this.#adopt(null);
        const span = Math.min(LONGEST_PAUSE_MS, 1_000 * 2 ** this.#doubts++);
        this.#refreshIn(problem.retryAfterMs + Math.random() * span);
        this.dispatchEvent(new CustomEvent('doubt', { detail: problem }));
        throw problem;
      }
    };
    this.#refreshing ??= Promise.resolve(navigator.locks?.request('weltenwind-refresh', once) ?? once())
      .finally(() => { this.#refreshing = null; });
    return this.#refreshing;
  }

  /**
   * The access token; asked with one that does not serve any more, another one, or null if there is none to be had.
   * @param {string} [stale]
   */
  async token(stale) {
    if (stale && this.session?.accessToken === stale) await this.refresh();
    return this.session?.accessToken ?? null;
  }

  #refreshIn(/** @type {number} */ ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh().catch(() => {}), Math.min(ms, LONGEST_TIMER_MS));
  }

  #adopt(/** @type {Session|null} */ session) {
    const changed = !this.known || session?.sessionId !== this.session?.sessionId;
    const ended = Boolean(this.session) && !session;
    this.session = session;
    this.known = true;
    this.#doubts = 0;
    clearTimeout(this.#timer);
    if (session) this.#refreshIn(session.expiresIn * 800);
    this.dispatchEvent(new CustomEvent('session', { detail: { changed, ended } }));
  }
}
