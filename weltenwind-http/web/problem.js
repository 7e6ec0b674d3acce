/** What went wrong, over HTTP or on the socket. */

/** What the codes begin with that stand for a status: the answer is not the server's own, but of something before it. */
export const FOREIGN = 'http-';
/** The code of what has none. */
const UNNAMED = 'unknown';
const PASSING = [408, 429, 502, 503, 504];
/** Codes with these statuses: the socket does not name a status. */
const PASSING_CODES = ['body-too-slow', 'idempotency-in-progress', 'overloaded', 'rate-limited', 'slow-mode', 'timed-out',
  'too-many-connections', 'too-many-rooms', 'unavailable'];
/** Codes of this side, where something may pass later: no answer came, there is no connection, too much waits. */
const OWN_PASSING_CODES = ['network', 'lost', 'not-connected', 'queue-full'];

/** The pause that an answer asks for, in seconds or as a date. @param {Headers} headers */
export function retryAfterMs(headers) {
  const asked = headers.get('Retry-After') ?? '0';
  const ms = /^\d+$/.test(asked) ? Number(asked) * 1000 : Date.parse(asked) - Date.now();
  return ms > 0 ? ms : 0;
}

/** In the server's words, with its code; or in a code of this side. */
export class Problem extends Error {
  /** @param {any} body  a problem body, or an `err` of the socket  @param {number} [status]  0 if it has none */
  constructor(body, status = 0) {
    super(body.detail || body.title || body.code, { cause: body.cause });
    this.name = 'Problem';
    this.status = status;
    this.code = String(body.code ?? UNNAMED);
    this.detail = String(body.detail || body.title || '');
    this.correlationId = String(body.correlationId ?? '');
    /** @type {{pointer?: string, code: string, detail?: string}[]} */
    this.errors = body.errors ?? [];
    /** The code with which the server closed the socket for good, where this is `ended`. */
    this.closeCode = Number(body.closeCode ?? 0);
    /** What the message is called of which nobody knows whether it was stored, where this is `outcome-unknown`. */
    this.clientId = String(body.clientId ?? '');
    /** @type {number} */
    this.retryAfterMs = body.retryAfterMs ?? (body.retryAfter ?? 0) * 1000;
  }

  /** Whether the same may pass later. */
  get isRetryable() {
    if (OWN_PASSING_CODES.includes(this.code) || PASSING_CODES.includes(this.code)) return true;
    if (this.isForeign && this.status >= 500) return true;
    return this.status ? PASSING.includes(this.status) : this.retryAfterMs > 0;
  }

  /** Whether the answer is not the server's own: it has no code of the catalogue. */
  get isForeign() {
    return this.status > 0 && (this.code === UNNAMED || this.code.startsWith(FOREIGN));
  }

  /**
   * Whether a socket that was open before is opened again after this. What the server refuses by name is final; a defect of its,
   * and whatever something before it says, is not.
   */
  get sparesTheSocket() {
    return this.isRetryable || this.isForeign || this.status >= 500;
  }

  /** Whether another access token may help. */
  get isStaleToken() {
    return this.code === 'token-expired' || this.code === 'token-invalid';
  }
}
