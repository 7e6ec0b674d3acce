/** Draws a channel: rows in order, and a scroll position that stays where the reader is. */
import { $, dayName, dayOf, disc, fullTime, h, hue, setText, time } from './format.js';
import { describe, goOn, link } from './notice.js';
import { has, plural, t } from './text.js';

/** @typedef {import('./channel.js').Channel} Channel */

const GROUP_MS = 5 * 60_000;
/** So long after it is drawn, history is no news to whoever has the page read out. */
const HUSH_MS = 250;

export class ChatView {
  /** Whether the reader is at the end and wants to stay there. */
  stick = true;
  #log = $('log');
  #rows = $('rows');
  #fresh = 0;
  #pages = 0;
  #hush = 0;
  /** @type {Map<any, HTMLElement>} */ #known = new Map();
  /** @type {Channel|null} */ #channel = null;

  /** @param {{older: () => void, retry: (draft: any) => void, discard: (draft: any) => void}} actions */
  constructor(actions) {
    this.actions = actions;
    $('older').addEventListener('click', actions.older);
    $('jump').addEventListener('click', () => this.toEnd());
    this.#log.addEventListener('scroll', () => {
      this.stick = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 60;
      this.#drawJump();
      if (this.#log.scrollTop < 160 && !this.stick) actions.older();
    }, { passive: true });
    new ResizeObserver(() => this.stick && this.toEnd()).observe(this.#log);
  }

  toEnd() {
    this.stick = true;
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#drawJump();
  }

  /**
   * Brings the page in line with the channel, touching only what differs.
   * @param {Channel} channel
   * @param {string} [me]  the reader's id
   * @param {number} [fresh]  how many messages are new since the last time
   */
  draw(channel, me, fresh = 0) {
    const { loaded, loading, older, pages, info: { name } } = channel;
    // History is read by whoever goes there; what a log gains while it is not busy is read out to all.
    if (loading || channel !== this.#channel || pages !== this.#pages) {
      clearTimeout(this.#hush);
      this.#hush = 0;
      this.#log.setAttribute('aria-busy', 'true');
    }
    this.#pages = pages;
    const focused = /** @type {HTMLElement|null} */ (document.activeElement);
    const held = focused && this.#log.contains(focused) ? focused : null;
    const row = held?.closest('#rows > li');
    const place = row ? [...this.#rows.children].indexOf(row) : Infinity;
    if (channel !== this.#channel) {
      this.#channel = channel;
      this.#known.clear();
      this.#rows.replaceChildren();
      this.stick = true;
      this.#log.setAttribute('aria-label', t('log.label', { name }));
    }
    $('older').hidden = !older;
    // A disabled button would lose the focus.
    $('older').setAttribute('aria-disabled', String(loading));
    const empty = loaded && !channel.messages.length && !channel.outbox.length;
    $('start').classList.toggle('still', empty);
    setText($('start').firstElementChild, loading ? t('log.loading') : empty ? t('log.empty')
      : loaded && !older ? t('log.beginning', { name }) : '');

    const top = this.#log.getBoundingClientRect().top;
    const anchor = this.stick ? null
      : [...this.#rows.querySelectorAll('.message')].find((row) => row.getBoundingClientRect().bottom > top);
    const was = anchor?.getBoundingClientRect().top;
    this.#place(channel, me);
    if (anchor?.isConnected) this.#log.scrollTop += anchor.getBoundingClientRect().top - was;
    this.#fresh += fresh;
    if (this.stick) this.toEnd();
    this.#drawJump();
    if (held) this.#holdFocus(held, place);
    if (!loading && !this.#hush) this.#hush = setTimeout(() => this.#log.setAttribute('aria-busy', 'false'), HUSH_MS);
  }

  /**
   * Whoever works through the log by keyboard goes on from there, also when the button that was pressed is no more: with the next
   * message that was not sent, else by writing.
   * @param {HTMLElement} focused  @param {number} place  of its row, if it is in one
   */
  #holdFocus(focused, place) {
    if (focused.isConnected && focused.checkVisibility()) {
      if (focused !== document.activeElement) focused.focus();
      return;
    }
    const next = [...this.#rows.children].slice(place).map((row) => row.querySelector('button')).find(Boolean);
    if (next) next.focus();
    else if (place === Infinity) this.#log.focus();
    else goOn();
  }

  #place(/** @type {Channel} */ channel, /** @type {string|undefined} */ me) {
    const gone = new Set(this.#known.keys());
    let next = this.#rows.firstElementChild;
    const row = (/** @type {any} */ key, /** @type {() => HTMLElement} */ make) => {
      const element = this.#known.get(key) ?? make();
      this.#known.set(key, element);
      gone.delete(key);
      if (element === next) next = element.nextElementSibling;
      else this.#rows.insertBefore(element, next);
      return element;
    };
    let day = 0;
    let before = null;
    for (const item of [...channel.messages, ...channel.outbox]) {
      const follows = before?.author.id === item.author.id && dayOf(item.sentAt) === day
        && Date.parse(item.sentAt) - Date.parse(before.sentAt) < GROUP_MS;
      if (dayOf(item.sentAt) !== day) {
        day = dayOf(item.sentAt);
        setText(row(day, () => h('li', { class: 'day' }, h('span'))).children[0], dayName(day));
      }
      this.#fill(row(channel.rowKey(item), () => make(item.author)), item, follows, me);
      before = item;
    }
    for (const key of gone) {
      this.#known.get(key)?.remove();
      this.#known.delete(key);
    }
  }

  /** @param {HTMLElement} row  @param {any} item  message or draft  @param {boolean} follows  @param {string} [me] */
  #fill(row, item, follows, me) {
    const [, head, quote, body, meta] = /** @type {any} */ (row.children);
    const [author, you, when] = head.children;
    row.classList.toggle('follows', follows);
    row.classList.toggle('removed', Boolean(item.tombstone));
    row.dataset.state = item.state ?? 'sent';
    if (item.id) Object.assign(row.dataset, { message: item.id, seq: item.seq });
    setText(author, item.author.displayName);
    setText(you, item.author.id === me ? t('message.you') : '');
    setText(when, time(item.sentAt));
    when.dateTime = item.sentAt;
    when.title = fullTime(item.sentAt);
    const first = item.replyTo && this.#channel?.messages.find((m) => m.id === item.replyTo);
    const text = first && (first.body ?? t('message.removed'));
    setText(quote, first ? t('message.replyTo', { name: first.author.displayName, text }) : '');
    const reason = item.tombstone?.reason;
    setText(body, !item.tombstone ? item.body : reason ? t('message.removedWhy', { reason }) : t('message.removed'));

    const marks = item.state === 'sending' ? [t('message.sending')]
      : item.state === 'failed' ? [t('message.failed', { why: describe(item.problem) })] : item.tombstone ? []
        : [item.editedAt && 'edited', ...item.flags ?? []].map((mark) => `message.${mark}`).filter(has).map((key) => t(key));
    // Nobody can send anything as nobody.
    const actions = item.state !== 'failed' ? [] : me ? ['retry', 'discard'] : ['discard'];
    const drawn = [...marks, ...actions].join();
    if (meta.dataset.text === drawn) return;
    meta.dataset.text = drawn;
    meta.replaceChildren(marks.join(' · '));
    if (actions.includes('retry')) meta.append(' ', link(t('retry'), () => this.actions.retry(item)));
    if (actions.length) meta.append(' ', link(t('message.discard'), () => this.actions.discard(item)));
  }

  #drawJump() {
    if (this.stick) this.#fresh = 0;
    $('jump').hidden = this.stick;
    setText($('jump'), this.#fresh ? plural('log.fresh', this.#fresh) : t('log.latest'));
  }
}

/** An empty row of an author. @param {{id: string, displayName: string}} author */
function make(author) {
  const name = h('b', { class: 'author' });
  name.style.setProperty('--hue', String(hue(author.id)));
  return h('li', { class: 'message' }, disc(author), h('p', { class: 'head' }, name, h('span', { class: 'you' }), h('time')),
    h('p', { class: 'quote' }), h('p', { class: 'body' }), h('p', { class: 'meta' }));
}
