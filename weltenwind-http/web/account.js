/** One's own account: who one is, and where one is signed in. */
import { $, fullTime, h, setText } from './format.js';
import { notice } from './notice.js';
import { t } from './text.js';

/** Shows the account of whoever is signed in. @param {import('./api.js').Api} api */
export async function showAccount(api) {
  const [me, { items }] = await Promise.all([api.get('/users/me'), api.get('/users/me/sessions?limit=200')]);
  setText($('mine-who'), t(`mine.${me.kind}`, { name: me.displayName, username: me.username }));
  const again = () => showAccount(api).catch(notice);
  $('mine').querySelector('ul').replaceChildren(...items.map((/** @type {any} */ { id, current, device }) => {
    const seen = t('mine.seen', { device: device.name ?? t('mine.device'), when: fullTime(device.lastSeen) });
    const end = h('button', { type: 'button', class: 'quiet' }, t('mine.end'));
    end.onclick = () => api.request('DELETE', `/users/me/sessions/${id}`).then(again, notice);
    return h('li', {}, h('p', {}, seen), current ? h('p', { class: 'tags' }, t('mine.current')) : end);
  }));
  $('mine-others').hidden = items.length < 2;
  $('mine-others').onclick = () => api.request('POST', '/users/me/sessions/revoke-others', { body: {} }).then(again, notice);
}
