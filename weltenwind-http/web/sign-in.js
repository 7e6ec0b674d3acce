/** The ways in: a name, username and password, or an owner's one-time link. */
import { $, setText } from './format.js';
import { showProblem } from './notice.js';
import { t } from './text.js';

/**
 * @param {HTMLFormElement} form
 * @param {(button: HTMLElement|null) => Promise<void>} attempt  told which button was pressed
 */
function onSubmit(form, attempt) {
  const error = /** @type {HTMLElement} */ (form.querySelector('.error'));
  const buttons = /** @type {HTMLButtonElement[]} */ ([...form.querySelectorAll('[type=submit]')]);
  const busy = (/** @type {boolean} */ is) => buttons.forEach((button) => { button.disabled = is; });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (buttons[0].disabled) return;
    busy(true);
    showProblem(error, null);
    try {
      await attempt(event.submitter);
      form.reset();
    } catch (/** @type {any} */ problem) {
      showProblem(error, problem, problem.status === 410 ? t('boot.gone') : undefined);
    }
    busy(false);
  });
}

/** @param {import('./api.js').Api} api */
export function guestSignIn(api) {
  onSubmit($('guest'), async () => {
    const displayName = $('name').value.trim();
    if (displayName) await api.signIn('guest', { displayName });
  });
}

/** The code beside the password, where an account has a second factor. @param {boolean} is */
function askForCode(is) {
  $('second-factor').hidden = !is;
  $('totp').required = is;
  if (is) $('totp').focus();
  else $('totp').value = '';
}

/** Username and password, in place of the name for whoever asks. @param {import('./api.js').Api} api */
export function accountSignIn(api) {
  $('login-toggle').addEventListener('click', () => {
    const open = $('credentials').hidden;
    $('credentials').hidden = !open;
    $('guest').hidden = open;
    setText($('login-toggle'), t(open ? 'login.close' : 'login.open'));
    $(open ? 'username' : 'name').focus();
  });
  onSubmit($('credentials'), async (button) => {
    const [username, password, totp] = [$('username').value.trim(), $('password').value, $('totp').value.trim()];
    if (button === $('register')) return api.signIn('register', { username, password });
    try {
      await api.signIn('login', totp ? { username, password, totp } : { username, password });
      askForCode(false);
    } catch (/** @type {any} */ problem) {
      if (problem.code === 'two-factor-required') askForCode(true);
      throw problem;
    }
  });
  // Another account may have no second factor.
  $('username').addEventListener('input', () => askForCode(false));
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
