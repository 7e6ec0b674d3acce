// The search of the reference. Without it the list of contents and the browser's own search do the same.

/** @type {HTMLElement|null} */ const search = document.querySelector('.contents search');

if (search) {
  const field = /** @type {HTMLInputElement} */ (document.getElementById('filter'));
  const found = /** @type {HTMLElement} */ (document.getElementById('found'));
  const items = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('[data-words]')]);
  const links = items.filter((item) => item.closest('.contents'));

  const filter = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of items) {
      const known = item.dataset.words?.toLowerCase() ?? '';
      item.hidden = !words.every((/** @type {string} */ word) => known.includes(word));
    }
    const left = links.filter((link) => !link.hidden).length;
    found.textContent = words.length ? `${left} of ${links.length}` : '';
  };

  field.addEventListener('input', filter);
  // Whoever follows a link sees where it leads, whatever was searched for.
  addEventListener('hashchange', () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.hidden) {
      field.value = '';
      filter();
      target.scrollIntoView();
    }
  });
  search.hidden = false;
}
