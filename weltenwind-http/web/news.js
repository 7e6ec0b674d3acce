/** What one is told: a bell with its count, the list behind it, and a toast for what comes while one looks. */
import { $, fullTime, h, setText } from './format.js';
import { link, showProblem } from './notice.js';
import { t } from './text.js';

/** So many toasts are shown at once; the rest is behind the bell, like these. */
const MAX_TOASTS = 3;
/** How long a toast stays, unless somebody points at it or has reached it by keyboard. */
const TOAST_MS = 12_000;
const LISTED = 50;

export class News {
  /** @param {import('./api.js').Api} api */
  constructor(api) {
    this.api = api;
    $('news').addEventListener('toggle', (/** @type {any} */ { newState }) => {
      $('bell').setAttribute('aria-expanded', String(newState === 'open'));
      if (newState !== 'open') return;
      $('toasts').replaceChildren();
      this.#list();
    });
  }

  /** Whoever is signed in is another one, or nobody. */
  async start() {
    $('toasts').replaceChildren();
    if ($('news').matches(':popover-open')) $('news').hidePopover();
    $('bell').hidden = !this.api.session;
    this.#drawCount({ count: 0, capped: false });
    await this.count();
  }

  /** Asks how much is not read. What cannot be told now is asked for again with the next look at the page. */
  async count() {
    const { session } = this.api;
    if (!session) return;
    try {
      const unread = await this.api.get('/notifications/unread-count');
      if (session.user.id === this.api.session?.user.id) this.#drawCount(unread);
    } catch (problem) {
      console.debug(problem);
    }
  }

  /** Shows a notification for a while; a notice of another kind is passed over. @param {{id?: string}} notice */
  async toast({ id }) {
    if (!id) return;
    this.count();
    const { items } = await this.api.get(`/notifications?unread=true&limit=${LISTED}`);
    const told = items.find((/** @type {any} */ item) => item.id === id);
    if (!told) return;
    const close = link('×', () => toast.remove());
    close.setAttribute('aria-label', t('news.dismiss', { title: told.title }));
    const show = link(t('news.show'), () => $('news').showPopover());
    const toast = h('div', { class: 'toast' }, h('p', {}, h('strong', {}, told.title)), h('p', { class: 'text' }, told.body),
      h('p', { class: 'actions' }, show), close);
    $('toasts').append(toast);
    while ($('toasts').children.length > MAX_TOASTS) $('toasts').firstElementChild.remove();
    const leave = () => {
      if (toast.matches(':hover, :focus-within')) setTimeout(leave, TOAST_MS / 4);
      else toast.remove();
    };
    setTimeout(leave, TOAST_MS);
  }

  /** Lists what one was told, and marks it as read. */
  async #list() {
    const [list, error] = [$('news').querySelector('ul'), $('news').querySelector('.error')];
    showProblem(error, null);
    try {
      const { items, upTo } = await this.api.get(`/notifications?limit=${LISTED}`);
      const rows = items.map((/** @type {any} */ { title, body, createdAt, readAt }) => h('li', {},
        h('p', {}, h('strong', {}, title), readAt ? '' : h('span', { class: 'unread' }, t('news.new'))),
        h('p', { class: 'text' }, body), h('time', { datetime: createdAt }, fullTime(createdAt))));
      list.replaceChildren(...(rows.length ? rows : [h('li', { class: 'hint' }, t('news.none'))]));
      if (items.some((/** @type {any} */ { readAt }) => !readAt)) {
        await this.api.request('POST', '/notifications/read-all', { body: { upTo } });
      }
      await this.count();
    } catch (problem) {
      showProblem(error, problem);
    }
  }

  #drawCount(/** @type {{count: number, capped: boolean}} */ { count, capped }) {
    const n = `${count}${capped ? '+' : ''}`;
    setText($('bell-count'), count ? n : '');
    $('bell').setAttribute('aria-label', t(count ? 'news.some' : 'news.title', { n }));
  }
}
