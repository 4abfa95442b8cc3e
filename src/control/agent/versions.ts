/** Precedence of versions (Semantic Versioning 2.0.0, section 11), as far as releases of this program need it. */
const VERSION = /^(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-([0-9A-Za-z.-]+))?(?:\+.*)?$/;

/** False also when either is no version: an agent never retires for what it cannot read. */
export function isNewer(candidate: string, than: string): boolean {
  const a = VERSION.exec(candidate);
  const b = VERSION.exec(than);
  if (a === null || b === null) return false;
  for (const i of [1, 2, 3]) {
    const difference = Number(a[i]) - Number(b[i]);
    if (difference !== 0) return difference > 0;
  }
  return comparePrerelease(a[4], b[4]) > 0;
}

function comparePrerelease(a: string | undefined, b: string | undefined): number {
  if (a === b) return 0;
  if (a === undefined) return 1;
  if (b === undefined) return -1;
  const [x, y] = [a.split('.'), b.split('.')];
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const [p, q] = [x[i], y[i]];
    if (p === undefined) return -1;
    if (q === undefined) return 1;
    if (p === q) continue;
    const [m, n] = [/^\d+$/.test(p), /^\d+$/.test(q)];
    if (m !== n) return m ? -1 : 1;
    return m ? Number(p) - Number(q) : p < q ? -1 : 1;
  }
  return 0;
}
