/** Wiring: which world and channel are shown, who is signed in, and what keeps them live. */
import { showAccount } from './account.js';
import { Api } from './api.js';
import { Channel } from './channel.js';
import { ChatView } from './chat-view.js';
import { wireComposer } from './composer.js';
import { $, disc, h, setText } from './format.js';
import { Live } from './live.js';
import { News } from './news.js';
import { describe, notice } from './notice.js';
import { Problem } from './problem.js';
import { drawHere, drawWriters, Typing } from './people.js';
import { accountSignIn, bootstrapSignIn, guestSignIn } from './sign-in.js';
import { has, lang, t } from './text.js';
import { listWorlds } from './worlds.js';

const MANY = 1_500;
const POLL_MS = 5_000;
/** The page shows what everybody may read if nobody has said by then who is signed in. */
const PATIENCE_MS = 2_000;

const api = new Api();
const news = new News(api);
const typing = new Typing(() => drawTyping());
const live = new Live(api, {
  state: drawStatus,
  closed,
  refused: notice,
  present: () => drawHere(live.present, api.session?.user.id),
  typing: (detail) => typing.heard(detail),
  // What is not shown is behind the bell all the same.
  notice: (detail) => news.toast(detail).catch((problem) => console.debug(problem)),
});
const view = new ChatView({
  older: () => active?.loadOlder().catch(notice),
  retry: (draft) => {
    if (!active || !api.session) return;
    active.handOver(draft, api.session.user);
    live.post(active, draft);
    drawSoon();
  },
  discard: (draft) => active?.discard(draft),
});
/** @type {Channel[]} */ let channels = [];
/** @type {Channel|null} */ let active = null;
let [ready, worldName] = [false, ''];
let [fresh, unseen] = [0, 0];
let [drawing, polling, failures] = [0, 0, 0];

function changed(/** @type {Channel} */ channel, /** @type {number} */ added) {
  const last = channel.messages.at(-1);
  if (added && last) typing.over(channel.room, last.author.id);
  if (channel !== active) channel.unread += added;
  else {
    fresh += added;
    if (document.hidden) unseen += added;
  }
  // A long sitting: forget what scrolled away, the history still has it.
  if (channel.messages.length > MANY && !channel.loading && (channel !== active || view.stick)) channel.load();
  drawSoon();
}

/** Draws once for any number of changes. */
function drawSoon() {
  drawing ||= setTimeout(draw, 16);
}

function draw() {
  drawing = 0;
  drawStatus();
  drawChannels();
  drawAccount();
  const title = [active && `# ${active.info.name}`, worldName, 'Weltenwind'].filter(Boolean).join(' · ');
  document.title = unseen ? t('title.fresh', { n: unseen, title }) : title;
  if (!active) return;
  view.draw(active, api.session?.user.id, fresh);
  fresh = 0;
  drawWriters(active);
  drawTyping();
}

function drawTyping() {
  typing.draw(active?.room, api.session?.user.id);
}

function drawStatus() {
  const { state } = live;
  const shown = !api.known ? 'connecting' : !api.session || active?.refused ? (failures ? 'offline' : 'reading')
    : state === 'open' ? (active?.live ? 'live' : 'connecting') : state === 'connecting' ? state : 'offline';
  $('status').dataset.state = shown;
  setText($('status'), t(state === 'closed' && api.session ? 'state.stopped' : `state.${shown}`));
}

function drawChannels() {
  const list = $('channels').querySelector('ul');
  if (list.children.length !== channels.length) {
    list.replaceChildren(...channels.map(({ info: { slug, name } }) =>
      h('li', {}, h('a', { href: `#channel=${encodeURIComponent(slug)}` }, name, h('span', { class: 'unread' })))));
  }
  channels.forEach((channel, n) => {
    const link = list.children[n].firstElementChild;
    if (channel === active) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    setText(link.lastElementChild, channel.unread ? t('channel.unread') : '');
  });
}

function drawAccount() {
  const user = api.session?.user;
  const name = active?.info.name ?? '';
  const kept = user?.kind === 'guest' && active?.info.guestsMayPost === false;
  $('account').hidden = $('compose').hidden = !user;
  $('sign-in').hidden = Boolean(user) || !api.known;
  $('composer').disabled = $('send').disabled = kept;
  $('composer').placeholder = t(kept ? 'composer.guests' : 'composer.label', { name });
  $('composer').setAttribute('aria-label', t('composer.label', { name }));
  if (!user || $('me').dataset.id === user.id) return;
  $('me').dataset.id = user.id;
  $('me').replaceChildren(disc(user), h('span', { class: 'name' }, user.displayName));
  $('leave').setAttribute('aria-label', t('leave.label', { name: user.displayName }));
}

/** Shows the channel the address names, else the first. */
function showChannel() {
  const slug = decodeURIComponent(/^#channel=(.+)$/.exec(location.hash)?.[1] ?? '');
  const channel = channels.find(({ info }) => info.slug === slug) ?? active ?? channels[0];
  if (!channel || channel === active) return;
  active = channel;
  channel.unread = 0;
  setText($('channel-name'), channel.info.name);
  draw();
  poll();
}

async function showWorld(/** @type {any} */ world) {
  worldName = world.name;
  setText($('world-name'), world.name);
  setText($('world-description'), world.description ?? '');
  const { items } = await api.get(`/worlds/${encodeURIComponent(world.id)}/channels?limit=200`);
  channels = items.map((/** @type {any} */ info) => new Channel(info, api, changed));
  live.look(world.id);
  if (!channels.length) notice(t('world.quiet'));
  showChannel();
}

/** What the address shows: a list, a world, the way in, the account, or nothing that there is. */
async function open() {
  const [, place, named, below] = location.pathname.split('/');
  if (place === 'sign-in') {
    // The server knows where to go on.
    if (api.session) location.replace(location.href);
    $('door').append($('sign-in'));
    return 'door';
  }
  if (place === 'account' && !named) {
    if (!api.known) return 'failed';
    if (!api.session) location.replace('/sign-in?next=/account');
    else await showAccount(api);
    return 'mine';
  }
  if ((place && place !== 'worlds') || (below && below !== 'chat')) {
    notice(t('page.missing'));
    return 'failed';
  }
  const world = named ? await api.get(`/worlds/${named}`) : await listWorlds(api);
  if (world) await showWorld(world);
  return world ? 'chat' : 'worlds';
}

async function start() {
  let shown = 'failed';
  try {
    shown = await open();
  } catch (/** @type {any} */ problem) {
    // A private world is not there for nobody, and who somebody is may still be found out.
    if (problem.status !== 404 || api.known) notice(problem.status === 404 ? t('world.missing') : problem, start);
  }
  document.body.dataset.view = shown;
  for (const section of ['worlds', 'door', 'mine']) $(section).hidden = shown !== section;
  $('chat').hidden = !active;
  drawSoon();
}

/** Loads the channel, and looks for news as long as no live socket brings it. */
async function poll() {
  clearTimeout(polling);
  const channel = active;
  let wait = POLL_MS;
  if (channel && !channel.live && !channel.loading && !(channel.loaded && document.hidden)) {
    try {
      if (channel.loaded && !channel.problem) await channel.poll();
      else await channel.load();
      if (channel.problem) throw channel.problem;
      live.follow(channel);
      if (failures) notice(null);
      failures = 0;
    } catch (/** @type {any} */ problem) {
      if ((channel.problem || problem.status) && !failures) notice(problem, poll);
      wait = Math.max(problem.retryAfterMs, Math.min(20_000, POLL_MS * 1.5 ** failures++));
    }
    drawStatus();
  }
  clearTimeout(polling);
  polling = setTimeout(poll, wait);
}

/** The socket stays closed. @param {import('./problem.js').Problem} problem */
function closed({ status, closeCode }) {
  const words = `close.${closeCode || (status === 401 ? 4201 : 'other')}`;
  if (status === 401 || closeCode === 4200 || closeCode === 4201) api.drop();
  notice(parting(has(words) ? words : 'close.other'));
}

/** Words for whoever is signed in no more, and for what they wrote and nobody has. @param {string} key */
function parting(key) {
  return channels.some(({ outbox }) => outbox.length) ? `${t(key)} ${t('ended.kept')}` : t(key);
}

function wire() {
  document.documentElement.lang = lang;
  for (const attribute of ['aria-label', 'placeholder', 'text']) {
    for (const element of document.querySelectorAll(`[data-${attribute}]`)) {
      const words = t(element.getAttribute(`data-${attribute}`) ?? '');
      if (attribute === 'text') element.textContent = words;
      else element.setAttribute(attribute, words);
    }
  }
  $('skip').addEventListener('click', (/** @type {Event} */ event) => {
    event.preventDefault();
    $('log').focus();
  });
  $('people-toggle').addEventListener('click', () => {
    $('people-toggle').setAttribute('aria-expanded', String(document.body.classList.toggle('people-open')));
  });
  $('leave').addEventListener('click', () => api.signOut().then(() => {
    // Who leaves leaves nothing behind.
    for (const channel of channels) channel.discard();
    notice(null);
  }, notice));
  wireComposer((body) => {
    if (!active || !api.session) return false;
    if (live.isFull(channels)) return notice(t('error.queue-full')), false;
    live.post(active, active.draft(body, api.session.user));
    view.toEnd();
    return true;
  }, () => active && live.typing(active));
  guestSignIn(api);
  accountSignIn(api);
  bootstrapSignIn(api);
  addEventListener('hashchange', showChannel);
  addEventListener('online', () => {
    poll();
    if (!api.known) ask();
  });
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    unseen = 0;
    draw();
    poll();
    news.count();
  });
}

/** Asks who is signed in. What cannot be told is told as a doubt, and asked again. */
function ask() {
  return api.refresh().catch((problem) => console.debug(problem));
}

function doubt(/** @type {any} */ problem) {
  if (api.known) return;
  const words = t('session.unknown', { why: describe(problem) });
  // Said once, not with each attempt.
  if ($('notice').firstChild?.textContent !== words) notice(words, ask);
  drawSoon();
}

api.addEventListener('doubt', (/** @type {any} */ { detail }) => doubt(detail));
api.addEventListener('session', (/** @type {any} */ { detail }) => {
  if (!detail.changed) return;
  const { session } = api;
  const focused = document.activeElement?.closest('#sign-in, #bootstrap');
  for (const channel of channels) channel.endSession();
  notice(detail.ended ? parting('ended') : null);
  if (session) live.start();
  else live.stop();
  news.start();
  draw();
  if (session && focused) $('composer').focus();
  if (ready && !active) start();
  poll();
});

wire();
const slow = setTimeout(() => doubt(new Problem({ code: 'no-answer' })), PATIENCE_MS);
await Promise.race([ask(), new Promise((go) => setTimeout(go, PATIENCE_MS))]);
clearTimeout(slow);
const { known } = api;
await start();
ready = true;
// Meanwhile it may have become known who looks.
if (known !== api.known && !active) await start();
