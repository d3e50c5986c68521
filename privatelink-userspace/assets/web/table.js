// A table that is sorted by the buttons in its head.

import { el, keyed, say, set } from './dom.js';

/// Columns have a `name`, a `title` and the `text` of a row; `order` says what they are sorted by, and numbers say so by
/// `number`. `sorted` is called when another order is chosen.
export class Table {
  #columns;
  #key;
  #rows = [];
  #caption = el('caption');
  #head = el('tr');
  #body = el('tbody');
  #sorted;
  by;
  reverse = false;

  constructor(parent, { columns, key, by, sorted = () => {} }) {
    this.#columns = columns;
    this.#key = key;
    this.#sorted = sorted;
    this.by = by;
    for (const column of columns) {
      const button = el('button', { type: 'button' }, column.title);
      button.addEventListener('click', () => this.#sortBy(column.name));
      this.#head.append(el('th', { scope: 'col', class: column.number ? 'number' : null }, button));
    }
    parent.append(el('table', {}, this.#caption, el('thead', {}, this.#head), this.#body));
    this.#draw();
  }

  show(rows, caption) {
    this.#rows = rows;
    say(this.#caption, caption);
    this.#draw();
  }

  #sortBy(name) {
    this.reverse = this.by === name ? !this.reverse : false;
    this.by = name;
    this.#draw();
    this.#sorted();
  }

  /// Numbers begin with the largest, text with the first.
  #descends(number) {
    return Boolean(number) !== this.reverse;
  }

  #ordered() {
    const { order, number } = this.#columns.find((column) => column.name === this.by);
    const way = this.#descends(number) ? -1 : 1;
    const compare = (a, b) => {
      const [x, y] = [order(a), order(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return way * (number ? x - y : x.localeCompare(y, 'en', { numeric: true }));
    };
    return [...this.#rows].sort(compare);
  }

  #draw() {
    [...this.#head.children].forEach((cell, place) => {
      const { name, number } = this.#columns[place];
      const way = this.#descends(number) ? 'descending' : 'ascending';
      set(cell, 'aria-sort', name === this.by ? way : null);
    });
    const make = () => el('tr', {}, ...this.#columns.map((column, place) =>
      el(place ? 'td' : 'th', { scope: place ? null : 'row', class: column.number ? 'number' : null })));
    keyed(this.#body, this.#ordered(), this.#key, make, (line, row) => {
      this.#columns.forEach((column, place) => say(line.children[place], column.text(row)));
    });
  }
}
