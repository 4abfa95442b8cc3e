import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { anchors, pages, prose, ROOT } from './pages.ts';

it.each(pages)('every link of $file leads somewhere', (page) => {
  const links = [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, to = '']) => to).filter((to) => !/^[a-z]+:/.test(to));
  const broken = links.filter((to) => {
    const [path = '', anchor] = to.split('#');
    const file = path === '' ? page.file : join(dirname(page.file), path);
    if (!existsSync(join(ROOT, file))) return true;
    return anchor !== undefined && !anchors(readFileSync(join(ROOT, file), 'utf8')).includes(anchor);
  });
  expect(broken).toEqual([]);
});

it.each(pages)('every file of the project that $file names is there', (page) => {
  const named = [...prose(page).matchAll(/`((?:src|test|tools|docs|etc|bench|migrations)\/[\w./-]*)`/g)].map(([, file = '']) => file);
  expect(named.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
});
