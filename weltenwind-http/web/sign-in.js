/** The two ways in: a name, or an owner's one-time link. */
import { $ } from './format.js';
import { showProblem } from './notice.js';
import { t } from './text.js';

function onSubmit(/** @type {HTMLFormElement} */ form, /** @type {() => Promise<void>} */ attempt) {
  const error = /** @type {HTMLElement} */ (form.querySelector('.error'));
  const button = /** @type {HTMLButtonElement} */ (form.querySelector('[type=submit]'));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    showProblem(error, null);
    try {
      await attempt();
      form.reset();
    } catch (/** @type {any} */ problem) {
      showProblem(error, problem, problem.status === 410 ? t('boot.gone') : undefined);
    }
    button.disabled = false;
  });
}

/** @param {import('./api.js').Api} api */
export function guestSignIn(api) {
  onSubmit($('sign-in'), async () => {
    const displayName = $('name').value.trim();
    if (displayName) await api.signIn('guest', { displayName });
  });
}

/** Takes a one-time token out of the address at once, then asks for its owner. @param {import('./api.js').Api} api */
export function bootstrapSignIn(api) {
  const dialog = $('bootstrap');
  let token = '';
  const look = () => {
    if (!location.hash.startsWith('#bootstrap=')) return;
    token = decodeURIComponent(location.hash.slice('#bootstrap='.length));
    history.replaceState(null, '', location.pathname + location.search);
    if (!dialog.open) dialog.showModal();
  };
  $('boot-cancel').addEventListener('click', () => dialog.close());
  onSubmit(dialog.querySelector('form'), async () => {
    const [username, password] = [$('boot-username').value.trim(), $('boot-password').value];
    await api.signIn('bootstrap', { token, username, password });
    dialog.close();
    $('composer').focus();
  });
  addEventListener('hashchange', look);
  look();
}
