/** Times, colours, and the one way this page makes elements. */
import { lang } from './text.js';

const spoken = navigator.languages?.find((tag) => tag.split('-')[0] === lang) ?? lang;
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const moment = new Intl.DateTimeFormat(spoken, { dateStyle: 'full', timeStyle: 'short' });
const thisYear = new Intl.DateTimeFormat(spoken, { weekday: 'long', day: 'numeric', month: 'long' });
const anyYear = new Intl.DateTimeFormat(spoken, { day: 'numeric', month: 'long', year: 'numeric' });
const relative = new Intl.RelativeTimeFormat(spoken, { numeric: 'auto' });

/** @param {string} id @returns {any} */
export const $ = (id) => document.getElementById(id);

/** @param {string} iso */
export const time = (iso) => clock.format(new Date(iso));

/** @param {string} iso */
export const fullTime = (iso) => moment.format(new Date(iso));

/** The local midnight before a moment, as a number. @param {string|number} when */
export const dayOf = (when) => new Date(when).setHours(0, 0, 0, 0);

/** @param {number} day  as given by dayOf */
export function dayName(day) {
  const days = Math.round((day - dayOf(Date.now())) / 86_400_000);
  if (days < -1 || days > 0) {
    return (new Date(day).getFullYear() === new Date().getFullYear() ? thisYear : anyYear).format(day);
  }
  const name = relative.format(days, 'day');
  return name[0].toLocaleUpperCase(lang) + name.slice(1);
}

/** A hue that stays with an author; the style sheet fixes lightness, and with it contrast. @param {string} id */
export function hue(id) {
  let hash = 2166136261;
  for (const char of id) hash = Math.imul(hash ^ char.charCodeAt(0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 2246822507);
  return (((hash ^ (hash >>> 13)) >>> 0) % 30) * 12;
}

/** Characters as the server counts them. @param {string} text */
export const length = (text) => [...text].length;

/**
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node|string)} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Writes only what differs, so that a live region stays silent. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The round sign of a person. @param {{id: string, displayName: string}} user */
export function disc({ id, displayName }) {
  const element = h('span', { class: 'disc', 'aria-hidden': 'true' }, [...displayName.trim()][0] ?? '?');
  element.style.setProperty('--hue', String(hue(id)));
  return element;
}
