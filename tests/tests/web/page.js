// What the tests look at: evaluated in the page.
({
  cards: () => [...document.querySelectorAll('.card')].map((card) => ({
    column: card.dataset.column,
    title: card.querySelector('.title').textContent,
    state: card.querySelector('.state').textContent,
    tone: card.dataset.tone,
    facts: card.querySelector('.facts').textContent,
    rates: card.querySelector('.rates').textContent,
    why: card.querySelector('.why').textContent,
    leads: card.querySelector('.joins').textContent,
  })),
  rows: (id) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => [...row.children].map((cell) => cell.textContent)),
  figures: () => Object.fromEntries([...document.querySelectorAll('.figure')].map((figure) =>
    [figure.querySelector('dt').textContent, figure.querySelector('.value').textContent])),
  view: () => [...document.querySelectorAll('[role=tabpanel]')].filter((panel) => !panel.hidden).map((panel) => panel.id).join(),
  focus: () => document.activeElement.id || document.activeElement.name || document.activeElement.textContent,

  /// Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, 1.4.3).
  faint: () => {
    const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
      const [x, y, z] = [r, g, b].map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
      return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (node) => {
      for (let at = node; at; at = at.parentElement) {
        const colour = parse(getComputedStyle(at).backgroundColor);
        if (colour.length === 3 || colour[3] === 1) return colour;
      }
      return [255, 255, 255];
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      const node = walker.currentNode.parentElement;
      if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest('noscript')) continue;
      const style = getComputedStyle(node);
      const [a, b] = [light(parse(node.closest('svg') ? style.fill : style.color)), light(behind(node))];
      const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (contrast < 4.5) found.push(`${contrast.toFixed(2)} ${walker.currentNode.data}`);
    }
    return found;
  },
})
