/** Every sentence a person reads. A translation replaces this one table. */
export const lang = 'en';

/** @type {Record<string, string>} */
const table = {
  'skip': 'Skip to the messages',
  'home': 'Weltenwind, all worlds',

  'worlds.title': 'Worlds',
  'worlds.lead': 'Step in and listen. No account needed to read along.',
  'worlds.empty': 'No world is open yet. Once one is created, it appears here.',
  'worlds.more': 'Show more worlds',
  'worlds.invite': 'by invitation',
  'worlds.private': 'private',
  'worlds.unlisted': 'unlisted',
  'world.missing': 'This world does not exist, or it is private.',
  'world.quiet': 'This world has no channel yet.',

  'page.missing': 'There is no such page.',

  'door.title': 'Sign in',
  'mine.title': 'Your account',
  'mine.guest': '{name}, a guest on this browser alone.',
  'mine.registered': '{name}, signed in as {username}.',
  'mine.sessions': 'Where you are signed in',
  'mine.seen': '{device}, last seen {when}',
  'mine.device': 'A device without a name',
  'mine.current': 'this browser',
  'mine.end': 'Sign out',
  'mine.others': 'Sign out everywhere else',

  'channels': 'Channels',
  'channel.unread': 'new messages',
  'writers': 'Recent writers',
  'writers.none': 'Nobody has written yet.',
  'writers.toggle': 'Writers',

  'log.label': 'Messages in {name}',
  'log.older': 'Load older messages',
  'log.loading': 'Loading…',
  'log.beginning': 'This is where {name} begins.',
  'log.empty': 'Still air. Say the first word.',
  'log.fresh.one': '{n} new message',
  'log.fresh.other': '{n} new messages',
  'log.latest': 'Jump to the latest',
  'title.fresh': '({n}) {title}',

  'message.removed': 'Message removed',
  'message.removedWhy': 'Message removed: {reason}',
  'message.edited': 'edited',
  'message.held': 'waiting for review',
  'message.you': 'you',
  'message.replyTo': 'Reply to {name}: {text}',
  'message.sending': 'sending…',
  'message.failed': 'Not sent: {why}',
  'message.discard': 'Discard',
  'retry': 'Try again',

  'composer.label': 'Message to {name}',
  'composer.send': 'Send',
  'composer.left.one': '{n} character left',
  'composer.left.other': '{n} characters left',
  'composer.over.one': '{n} character too many',
  'composer.over.other': '{n} characters too many',
  'composer.guests': 'Guests can read this channel, but not write in it.',
  'composer.full': 'Too many messages are waiting to be sent. Wait until the connection is back.',

  'join.label': 'Your name',
  'join.hint': 'You are reading along. Pick a name and join in.',
  'join.submit': 'Join',
  'login.open': 'Sign in with an account',
  'login.close': 'Join with a name only',
  'login.label': 'Sign in with an account',
  'login.username': 'Username',
  'login.password': 'Password',
  'login.totp': 'Code of your authenticator, or a recovery code',
  'login.submit': 'Sign in',
  'login.register': 'Register',
  'leave': 'Leave',
  'leave.label': 'Leave: end the session of {name}',
  'ended': 'Your session has ended. Pick a name to join again.',

  'boot.title': 'First sign-in of an owner',
  'boot.lead': 'This link makes you an owner of this server. Choose how you will sign in from now on.',
  'boot.username': 'Username',
  'boot.password': 'Password',
  'boot.rule': 'At least 10 characters.',
  'boot.submit': 'Create the account',
  'boot.cancel': 'Cancel',
  'boot.gone': 'This link was used already, or it has expired. Ask whoever runs the server for a new one.',

  'state.reading': 'Reading along',
  'state.connecting': 'Connecting…',
  'state.live': 'Live',
  'state.offline': 'Offline, trying again',
  'state.stopped': 'Disconnected',

  'error.network': 'The server cannot be reached.',
  'error.silent': 'The server did not answer in time.',
  'error.invalid-credentials': 'Username and password do not fit together.',
  'error.two-factor-required': 'Enter the code that your authenticator shows.',
  'error.two-factor-code-invalid': 'The code is wrong, or was used before.',
  'error.username-taken': 'Somebody else has this username. Choose another one.',
  'error.unknown': 'Something went wrong.',
  'error.reference': 'Reference {id}',
  'error.dismiss': 'Dismiss',
  'close.4200': 'This device was signed out. Pick a name to join again.',
  'close.4201': 'Your session has ended. Pick a name to join again.',
  'close.4202': 'You have been banned.',
  'close.4203': 'The connection was closed because this page and the server do not understand each other. Reload the page.',
  'close.other': 'The server closed the connection. Reload the page to try again.',
};

const rules = new Intl.PluralRules(lang);

/** @param {string} key  @param {Record<string, any>} [values]  for the {names} in the text */
export const t = (key, values = {}) => (table[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');

/** @param {string} key  with one entry per plural category, `key.one`, `key.other`  @param {number} n */
export const plural = (key, n) => t(`${key}.${rules.select(n)}`, { n });

/** @param {string} key */
export const has = (key) => key in table;
