/** Who is here, who is writing something, and who wrote lately. */
import { $, disc, fullTime, h, setText, time } from './format.js';
import { lang, t } from './text.js';

/** @typedef {import('./channel.js').Channel} Channel */

/** So long after the last word of it somebody counts as writing: news of it come every three seconds. */
const WRITING_MS = 5_000;
const names = new Intl.Collator(lang);

/** Who is in the world, if that is known. @param {import('./realtime.js').Present|null} present  @param {string} [me] */
export function drawHere(present, me) {
  $('here').hidden = !present;
  if (!present) return;
  const { members, count } = present;
  setText($('here').querySelector('h2'), t('here.title', { n: count }));
  const sorted = members.sort((a, b) => names.compare(a.displayName, b.displayName));
  const rows = sorted.map((member) => h('li', {}, disc(member), h('span', { class: 'author' }, member.displayName),
    h('span', { class: 'you' }, member.id === me ? t('message.you') : ''), h('span', { class: 'hint' }, member.state ?? '')));
  $('here').querySelector('ul').replaceChildren(...(rows.length ? rows : [h('li', { class: 'hint' }, t('here.many'))]));
}

/** Who wrote lately, newest first. @param {Channel} channel */
export function drawWriters(channel) {
  const last = new Map(channel.messages.map((message) => [message.author.id, message]));
  const latest = [...last.values()].sort((a, b) => b.seq - a.seq).slice(0, 12);
  const rows = latest.map(({ author, sentAt }) => h('li', {}, disc(author), h('span', { class: 'author' }, author.displayName),
    h('time', { datetime: sentAt, title: fullTime(sentAt) }, time(sentAt))));
  $('writers').querySelector('ul').replaceChildren(...(rows.length ? rows : [h('li', { class: 'hint' }, t('writers.none'))]));
}

/** Who is writing something: for some seconds, or until it is there. */
export class Typing {
  /** By room and account. @type {Map<string, {room: string, user: string, name: string, timer: number}>} */ #people = new Map();

  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
  }

  /** @param {{room: string, user: string, displayName: string}} detail */
  heard({ room, user, displayName }) {
    clearTimeout(this.#people.get(`${room} ${user}`)?.timer);
    const timer = setTimeout(() => this.over(room, user), WRITING_MS);
    this.#people.set(`${room} ${user}`, { room, user, name: displayName, timer });
    this.changed();
  }

  /** @param {string} room  @param {string} user */
  over(room, user) {
    const one = this.#people.get(`${room} ${user}`);
    if (!one) return;
    clearTimeout(one.timer);
    this.#people.delete(`${room} ${user}`);
    this.changed();
  }

  /** @param {string} [room]  @param {string} [me]  who need not be told */
  draw(room, me) {
    const [one, two, ...more] = [...this.#people.values()].filter((person) => person.room === room && person.user !== me);
    setText($('typing'), !one ? '' : !two ? t('typing.one', one)
      : more.length ? t('typing.many') : t('typing.two', { name: one.name, other: two.name }));
  }
}
