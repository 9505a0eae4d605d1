// The atlas: theme, search, filters, details. Nothing is fetched: the index of the search is a script of its own.
(() => {
  'use strict';
  const root = document.documentElement;
  const $ = (id) => document.getElementById(id);
  root.classList.add('js');

  // Browsers may refuse to store anything for pages that come from a disk; then a choice lasts as long as its page.
  const store = {
    get(key) { try { return localStorage.getItem(key); } catch { return null; } },
    set(key, value) { try { localStorage.setItem(key, value); } catch { /* it lasts for this page */ } },
  };
  const prefersDark = () => matchMedia('(prefers-color-scheme: dark)').matches;
  const wanted = store.get('atlas-theme');
  if (wanted === 'dark' || wanted === 'light') root.dataset.theme = wanted;

  // ---- The index: ATLAS(...) is called by search.js, which is loaded at the first use.
  let index = null;
  let loading = null;
  window.ATLAS = (pages) => {
    index = [];
    for (const [page, table, rows] of pages) {
      for (const [id, name, kind, manual = '', number = '', also = ''] of rows) {
        const words = `${manual} ${also}`.toLowerCase();
        index.push({ page, table, id: id || `type-${name}`, name, kind, manual, number, low: name.toLowerCase(), words });
      }
    }
  };
  function load() {
    loading ??= new Promise((done) => {
      const script = document.createElement('script');
      script.src = 'search.js';
      script.onload = script.onerror = () => done();
      document.head.append(script);
    });
    return loading;
  }

  // What a query may mean as a number: hexadecimal texts without zeros in front.
  function numbers(query) {
    const text = query.toLowerCase().replace(/[_\s]/g, '');
    const out = new Set();
    const hex = /^(?:0x)?([0-9a-f]+?)h?$/.exec(text);
    const prefixed = text.startsWith('0x') || text.endsWith('h');
    if (hex) out.add(hex[1].replace(/^0+(?=.)/, ''));
    if (/^-?\d+$/.test(text) && !prefixed) out.add(BigInt.asUintN(64, BigInt(text)).toString(16));
    return out;
  }

  // How well an entry fits; 0 when it does not.
  function score(entry, query, parts, values) {
    const own = entry.low.slice(entry.low.lastIndexOf('.') + 1);
    if (entry.number && values.has(entry.number)) return 95;
    if (entry.low === query || own === query) return 100;
    if (own.startsWith(query) || entry.low.startsWith(query)) return 80;
    if (entry.low.includes(query)) return entry.low.includes(`_${query}`) ? 65 : 60;
    if (entry.words.includes(query)) return 40;
    return parts.length > 1 && parts.every((part) => entry.low.includes(part) || entry.words.includes(part)) ? 30 : 0;
  }
  function search(text) {
    const query = text.trim().toLowerCase();
    if (!query || !index) return [];
    const parts = query.split(/[\s_]+/).filter(Boolean);
    const values = numbers(query);
    const hits = [];
    for (const entry of index) {
      const points = score(entry, query, parts, values);
      if (points) hits.push([points - (entry.name.includes('.') ? 3 : 0), entry]);
    }
    hits.sort((a, b) => b[0] - a[0] || a[1].name.length - b[1].name.length || (a[1].name < b[1].name ? -1 : 1));
    return hits.map((hit) => hit[1]);
  }
  window.atlas = { load, search, numbers };

  // A phone shows rows as cards, whose cells say what they are.
  function labels() {
    for (const table of document.querySelectorAll('main table:not(.overview)')) {
      const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
      for (const body of table.tBodies) {
        [...body.rows[0].cells].forEach((cell, i) => { cell.dataset.l = names[i]; });
      }
    }
  }

  // Names in pictures are cut where there is no room: a pointer that rests on one shows it.
  function titles() {
    for (const cell of document.querySelectorAll('.strip a')) {
      const name = cell.querySelector('em')?.textContent ?? 'reserved';
      cell.title = cell.title ? `${name}, bits ${cell.title}` : name;
    }
  }

  // ---- Details.
  function setOpen(body, open) {
    body.classList.toggle('open', open);
    body.querySelector('button.t')?.setAttribute('aria-expanded', String(open));
  }
  function details() {
    for (const more of document.querySelectorAll('tr.d')) {
      const body = more.parentElement;
      body.classList.add('has');
      const name = body.querySelector('.n');
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 't';
      button.setAttribute('aria-expanded', 'false');
      button.setAttribute('aria-label', `Details of ${name ? name.textContent : 'this row'}`);
      (name ?? more).before(button);
    }
    document.addEventListener('click', (event) => {
      const line = event.target.closest?.('tbody.has > tr:first-child');
      if (!line || (event.target.closest('a') && !event.target.closest('a.n')) || String(getSelection() ?? '')) return;
      const body = line.parentElement;
      // A press on the name goes there as well, and shows more; a second one shows less.
      setOpen(body, !body.classList.contains('open'));
    });
    if ($('all') && !document.querySelector('tr.d')) $('all').hidden = true;
    $('all')?.addEventListener('click', (event) => {
      const open = event.currentTarget.getAttribute('aria-pressed') !== 'true';
      event.currentTarget.setAttribute('aria-pressed', String(open));
      for (const body of document.querySelectorAll('tbody.has')) setOpen(body, open);
    });
  }

  // ---- Filters.
  let apply = () => {};
  function filters() {
    const form = document.querySelector('.filters');
    if (!form) return;
    const bodies = [...document.querySelectorAll('main table:not(.overview) > tbody')];
    const texts = bodies.map((body) => body.textContent.toLowerCase());
    const box = $('filter');
    const selects = [...form.querySelectorAll('select')];
    const sections = [...document.querySelectorAll('section.w')];
    apply = () => {
      const query = box.value.trim().toLowerCase();
      const values = [...numbers(query)].map((value) => `0x${value}`);
      const tags = selects.map((select) => select.value).filter(Boolean);
      let shown = 0;
      bodies.forEach((body, i) => {
        const has = ` ${body.dataset.t ?? ''} `;
        const first = query && values.length ? body.querySelector('.m')?.textContent.toLowerCase() ?? '' : '';
        const same = () => numbers(first.split(/\s/)[0]);
        const found = !query || texts[i].includes(query)
          || (values.length > 0 && /^[0-9a-fx]/.test(first) && [...same()].some((value) => values.includes(`0x${value}`)));
        body.hidden = !(found && tags.every((tag) => has.includes(` ${tag} `)));
        shown += body.hidden ? 0 : 1;
      });
      for (const section of sections) {
        section.hidden = (query || tags.length) && !section.querySelector('tbody:not([hidden])');
      }
      $('count').textContent = `${shown} of ${bodies.length}`;
    };
    form.addEventListener('input', apply);
    form.addEventListener('submit', (event) => event.preventDefault());
    apply();
  }

  // ---- Deep links: open what they lead to, and show it even when a filter hides it.
  function arrive() {
    let id;
    try { id = decodeURIComponent(location.hash.slice(1)); } catch { return; }
    if (!id) return;
    const target = $(id);
    if (!target) {
      // `index.html#vmcs-GUEST_RIP` leads to the page that has it.
      load().then(() => {
        const entry = index?.find((entry) => entry.id === id);
        if (entry && !location.pathname.endsWith(`/${entry.page}`)) location.replace(`${entry.page}#${id}`);
      });
      return;
    }
    if (target.closest('[hidden]')) {
      document.querySelector('.filters')?.reset();
      apply();
    }
    if (target.matches('tbody.has')) setOpen(target, true);
    target.scrollIntoView({ block: 'start' });
  }

  // ---- The search box.
  function box() {
    const input = $('q');
    const list = $('hits');
    if (!input) return;
    let at = -1;
    const close = () => {
      list.hidden = true;
      at = -1;
      input.setAttribute('aria-expanded', 'false');
      input.removeAttribute('aria-activedescendant');
    };
    const span = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
    function show() {
      const hits = search(input.value);
      at = -1;
      input.removeAttribute('aria-activedescendant');
      list.replaceChildren();
      if (!input.value.trim()) { close(); $('said').textContent = ''; return; }
      hits.slice(0, 40).forEach((entry, i) => {
        const link = document.createElement('a');
        link.id = `hit-${i}`;
        link.href = `${entry.page}#${encodeURIComponent(entry.id)}`;
        link.tabIndex = -1;
        link.setAttribute('role', 'option');
        link.setAttribute('aria-selected', 'false');
        link.append(span('b', entry.name), span('i', entry.number && `0x${entry.number}`), span('small', entry.manual), span('small', entry.kind));
        list.append(link);
      });
      if (!hits.length) list.append(span('p', index ? 'Nothing has this name or number.' : 'The index is not there: search.js is missing.'));
      $('said').textContent = `${hits.length} found`;
      list.hidden = false;
      input.setAttribute('aria-expanded', 'true');
      if (hits.length) move(1);
    }
    function move(by) {
      const links = [...list.querySelectorAll('a')];
      if (!links.length) return;
      links[at]?.setAttribute('aria-selected', 'false');
      at = (at + by + links.length) % links.length;
      links[at].setAttribute('aria-selected', 'true');
      links[at].scrollIntoView({ block: 'nearest' });
      input.setAttribute('aria-activedescendant', links[at].id);
    }
    input.addEventListener('focus', load);
    input.addEventListener('input', () => load().then(show));
    input.addEventListener('keydown', (event) => {
      if (event.key === 'ArrowDown') { event.preventDefault(); if (list.hidden) load().then(show); else move(1); }
      else if (event.key === 'ArrowUp') { event.preventDefault(); move(-1); }
      else if (event.key === 'Escape') { if (list.hidden) input.blur(); close(); event.preventDefault(); }
      else if (event.key === 'Enter') {
        event.preventDefault();
        const link = list.querySelectorAll('a')[at];
        if (link && !list.hidden) { link.click(); }
      }
    });
    list.addEventListener('click', () => { close(); input.blur(); setTimeout(arrive); });
    document.addEventListener('click', (event) => { if (!event.target.closest?.('.search')) close(); });
    document.addEventListener('keydown', (event) => {
      const typing = event.target.matches?.('input, select, textarea') || event.ctrlKey || event.metaKey || event.altKey;
      if (event.key === '/' && !typing) { event.preventDefault(); input.focus(); input.select(); }
    });
  }

  function theme() {
    const button = $('theme');
    const isDark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : prefersDark());
    const say = () => {
      button.textContent = isDark() ? 'Light' : 'Dark';
      button.setAttribute('aria-label', `Switch to the ${isDark() ? 'light' : 'dark'} theme`);
    };
    button?.addEventListener('click', () => {
      root.dataset.theme = isDark() ? 'light' : 'dark';
      store.set('atlas-theme', root.dataset.theme);
      say();
    });
    if (button) say();
  }

  function legend() {
    const buttons = [...document.querySelectorAll('.legend button')];
    for (const button of buttons) {
      button.addEventListener('click', () => {
        const on = button.getAttribute('aria-pressed') !== 'true';
        for (const other of buttons) other.setAttribute('aria-pressed', String(on && other === button));
        for (const cell of document.querySelectorAll('.memory a')) {
          cell.classList.toggle('pale', on && !cell.classList.contains(button.dataset.g));
        }
      });
    }
  }

  document.addEventListener('DOMContentLoaded', () => {
    if (matchMedia('(max-width: 60rem)').matches) document.querySelector('.tables details')?.removeAttribute('open');
    theme();
    labels();
    titles();
    details();
    filters();
    box();
    legend();
    arrive();
    addEventListener('hashchange', arrive);
  });
})();
