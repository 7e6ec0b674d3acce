/** Words in the first language of the browser's that there is a table for. */
import de from './text-de.js';
import en from './text-en.js';

/** @type {Record<string, Record<string, string>>} */
export const tables = { en, de };

/** @type {string} */
export const lang = navigator.languages.map((tag) => tag.split('-')[0]).find((tag) => tag in tables) ?? 'en';
const table = tables[lang];

const rules = new Intl.PluralRules(lang);

/** @param {string} key  @param {Record<string, any>} [values]  for the {names} in the text */
export const t = (key, values = {}) => (table[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');

/** @param {string} key  with one entry per plural category, `key.one`, `key.other`  @param {number} n */
export const plural = (key, n) => t(`${key}.${rules.select(n)}`, { n });

/** @param {string} key */
export const has = (key) => key in table;
