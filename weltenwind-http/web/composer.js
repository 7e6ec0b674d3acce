/** Where a person writes: Enter sends, Shift+Enter breaks the line. */
import { $, length, setText } from './format.js';
import { plural } from './text.js';

const MAX = 2_000;
const NEAR = 200;

function measure() {
  const box = $('composer');
  const left = MAX - length(box.value.trim());
  $('count').classList.toggle('over', left < 0);
  setText($('count'), left > NEAR ? '' : plural(left < 0 ? 'composer.over' : 'composer.left', Math.abs(left)));
  box.style.height = 'auto';
  box.style.height = `${box.scrollHeight + box.offsetHeight - box.clientHeight}px`;
}

/**
 * @param {(body: string) => boolean} send  answers whether the text was taken
 * @param {() => void} typing  told with every change while there is a text
 */
export function wireComposer(send, typing) {
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const body = $('composer').value.trim();
    if (!body || length(body) > MAX || !send(body)) return;
    $('composer').value = '';
    measure();
  };
  $('compose').addEventListener('submit', submit);
  $('composer').addEventListener('input', () => {
    measure();
    if ($('composer').value.trim()) typing();
  });
  $('composer').addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) submit(event);
  });
}
