/** One connection, from its ticket to its end. */
import { FOREIGN, Problem, retryAfterMs } from './problem.js';

/** How long the server has for its first record, and to close once it has said goodbye. */
const GRACE_MS = 15_000;
/** How long beyond the pings' interval a server may be silent before the connection counts as lost. */
const SILENCE_MS = 20_000;

/**
 * @typedef {object} End  how a connection ended
 * @property {number} [code]  the close code
 * @property {string} [reason]
 * @property {any} [bye]  the server's goodbye, which says more than the close frame behind it
 * @property {number} [heldMs]  how long it was open; 0 if it never was
 */

/**
 * Gets what a socket is opened with, once.
 * @param {string} server
 * @param {string} token
 * @returns {Promise<string|Problem>}
 */
export async function getTicket(server, token) {
  const headers = { 'Accept': 'application/json', 'Content-Type': 'application/json', 'Authorization': `Bearer ${token}` };
  const address = new URL('/api/v1/realtime/tickets', server);
  const signal = AbortSignal.timeout(GRACE_MS);
  const response = await fetch(address, { method: 'POST', headers, body: '{}', signal, credentials: 'omit' });
  const answer = await response.json().catch((error) => {
    if (response.ok) throw error;
  });
  if (response.ok) return answer.ticket;
  // What stands before the server, a proxy say, has no problem body.
  const problem = answer?.code && answer.correlationId ? answer : { code: FOREIGN + response.status };
  if (!problem.retryAfter) problem.retryAfterMs = retryAfterMs(response.headers);
  return new Problem(problem, response.status);
}

export class Connection {
  isOver = false;
  #socket;
  #watch;
  #end = Promise.withResolvers();
  /** @type {any} */ #bye = null;
  #openedAt = 0;
  #heardAt = Date.now();
  #patience = GRACE_MS;

  /**
   * @param {string} server
   * @param {string} ticket
   * @param {(send: (record: any) => void) => void} open  told once records can be sent
   * @param {(line: string) => any} take  told each record; answers what it is, or nothing if it cannot be read
   */
  constructor(server, ticket, open, take) {
    const address = new URL('/realtime/v1', server);
    address.protocol = address.protocol.replace('http', 'ws');
    const socket = new WebSocket(address, ['weltenwind.v1', `ticket.${ticket}`]);
    socket.onclose = ({ code, reason }) => this.end({ code, reason });
    socket.onopen = () => {
      if (this.isOver) return;
      this.#openedAt = this.#heardAt = Date.now();
      open((record) => socket.send(JSON.stringify(record)));
    };
    socket.onmessage = ({ data }) => {
      this.#heardAt = Date.now();
      for (const line of data.split('\n')) if (line.trim() && !this.isOver) this.#hear(take(line));
    };
    this.#socket = socket;
    this.#watch = setInterval(() => {
      const reason = `nothing was heard for ${this.#patience / 1_000} seconds`;
      if (Date.now() - this.#heardAt > this.#patience) this.end({ reason });
    }, 1_000);
  }

  /** @returns {Promise<End>} */
  get ended() {
    return this.#end.promise;
  }

  /** Ends it without waiting for the other side. @param {End} how */
  end(how) {
    if (this.isOver) return;
    this.isOver = true;
    clearInterval(this.#watch);
    this.#socket.close();
    const heldMs = this.#openedAt && Math.max(1, Date.now() - this.#openedAt);
    this.#end.resolve({ bye: this.#bye, heldMs, ...how });
  }

  #hear(/** @type {any} */ record) {
    if (record?.t === 'welcome') this.#patience = record.pingEverySeconds * 1_000 + SILENCE_MS;
    if (record?.t === 'bye') [this.#bye, this.#patience] = [record, GRACE_MS];
  }
}
