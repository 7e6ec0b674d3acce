/** The list of worlds. */
import { $, h, setText } from './format.js';
import { notice } from './notice.js';
import { t } from './text.js';

/**
 * Lists the worlds; a world that is alone is answered instead.
 * @param {import('./api.js').Api} api
 * @param {string} [cursor]
 * @returns {Promise<any>}
 */
export async function listWorlds(api, cursor) {
  const { items, nextCursor } = await api.get(`/worlds${cursor ? `?cursor=${encodeURIComponent(cursor)}` : ''}`);
  if (!cursor && !nextCursor && items.length === 1) return items[0];
  const list = $('worlds').querySelector('ul');
  if (!cursor) list.replaceChildren();
  for (const { slug, name, description, visibility, joinPolicy } of items) {
    const tags = [visibility !== 'public' && t(`worlds.${visibility}`), joinPolicy === 'invite' && t('worlds.invite')];
    list.append(h('li', {}, h('a', { href: `/worlds/${encodeURIComponent(slug)}` }, name),
      h('p', {}, description ?? ''), h('p', { class: 'tags' }, tags.filter(Boolean).join(' · '))));
  }
  setText($('worlds').querySelector('.lead'), t(list.children.length ? 'worlds.lead' : 'worlds.empty'));
  $('worlds-more').hidden = !nextCursor;
  $('worlds-more').onclick = () => listWorlds(api, nextCursor).catch(notice);
}
