/** The table of the admin socket in docs/operations.md, held against what the door offers: every path, with its methods, and no other. */
import { expect, test } from 'vitest';
import { adminRouter, type AdminServices } from '../../src/web/routes.ts';
import { pageOf } from './pages.ts';

/** Names of parameters are each page's own. */
const same = (path: string): string => path.replace(/\?.*/, '').replace(/\/(?::\w+|[A-Z]+)(?=\/|$)/g, '/*');

function offered(): string[] {
  const anything: unknown = new Proxy({}, { get: () => anything });
  const { stack } = adminRouter(anything as AdminServices, () => () => undefined) as unknown as { stack: Array<{ route: { path: string; methods: Record<string, boolean> } }> };
  return stack.flatMap(({ route }) => Object.keys(route.methods).map((method) => `${method.toUpperCase()} ${same(route.path)}`));
}

function documented(): string[] {
  const [, section = ''] = pageOf('docs/operations.md').split('\n## Admin socket\n');
  const table = section.split('\n## ')[0]?.split('\n').filter((line) => line.startsWith('| `/')) ?? [];
  return table.flatMap((row) => {
    const [, paths = '', methods = ''] = row.split('|');
    const names = [...paths.matchAll(/`([^`]+)`/g)].map((m) => same(m[1] ?? ''));
    const each = methods.split('·').map((m) => m.trim().split(', '));
    expect([1, names.length], row).toContain(each.length);
    return names.flatMap((name, i) => (each[each.length === 1 ? 0 : i] ?? []).map((method) => `${method} ${name}`));
  });
}

test('has every path with its methods, and no other', () => {
  expect(documented().sort()).toEqual(offered().sort());
});
