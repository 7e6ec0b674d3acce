/** Problems in words a person can act on, with the id an admin can look up. */
import { $, h } from './format.js';
import { has, t } from './text.js';

/** @param {any} problem  @returns {string} */
export function describe(problem) {
  if (has(`error.${problem.code}`)) return t(`error.${problem.code}`);
  const details = problem.errors?.map((/** @type {any} */ error) => error.detail).filter(Boolean).join(' ');
  return details || problem.detail || t('error.unknown');
}

/**
 * @param {HTMLElement} place  an element with role=alert
 * @param {any} problem  null clears
 * @param {string} [words]  in place of the problem's own
 */
export function showProblem(place, problem, words) {
  place.replaceChildren(...(problem ? [words ?? describe(problem)] : []));
  if (!problem?.correlationId) return;
  place.append(' ', h('small', { class: 'reference' }, t('error.reference', { id: problem.correlationId })));
}

/** @param {string} label  @param {() => void} act */
export function link(label, act) {
  const button = h('button', { type: 'button', class: 'link' }, label);
  button.addEventListener('click', act);
  return button;
}

/** Puts the focus where the reader goes on, in place of a button that is no more. */
export function goOn() {
  [$('composer'), $('name'), $('log')].find((element) => element.checkVisibility() && !element.disabled)?.focus();
}

/**
 * The page-wide notice: a sentence, a problem, or null for none.
 * @param {any} what
 * @param {() => void} [retry]
 */
export function notice(what, retry) {
  showProblem($('notice'), what, typeof what === 'string' ? what : undefined);
  if (!what) return;
  $('notice').append(' ', link(t(retry ? 'retry' : 'error.dismiss'), () => {
    notice(null);
    goOn();
    retry?.();
  }));
}
