/** What the codec needs of a complex type, worked out once: its children and attributes by name. */
import { isMixed, textType, wholeAttributes, wholeParticle, type AttributeDeclaration, type ComplexType, type ElementDeclaration, type Particle, type SimpleType } from './model.ts';
import type { Clark } from '../names.ts';

export interface Slot {
  /** Key in the object. */
  readonly key: string;
  readonly element: ElementDeclaration;
  readonly repeated: boolean;
  /** There is no valid content without it. */
  readonly required: boolean;
}

export interface AttributeSlot {
  readonly key: string;
  readonly declaration: AttributeDeclaration;
}

export interface Plan {
  readonly type: ComplexType;
  /** In the order of the schema, which is the order of writing. */
  readonly slots: readonly (Slot | 'any')[];
  readonly byName: ReadonlyMap<Clark, Slot>;
  readonly keys: ReadonlySet<string>;
  /** Local names that only one child has. */
  readonly byLocal: ReadonlyMap<string, Slot>;
  readonly wildcard: boolean;
  readonly attributes: readonly AttributeSlot[];
  readonly mixed: boolean;
  /** Type of the text, for simple content. */
  readonly text: SimpleType | undefined;
}

interface Tally {
  readonly element: ElementDeclaration;
  max: number;
  min: number;
}

const PLANS = new WeakMap<ComplexType, Plan>();

export function planOf(type: ComplexType): Plan {
  const known = PLANS.get(type) ?? make(type);
  PLANS.set(type, known);
  return known;
}

function make(type: ComplexType): Plan {
  const tallies = new Map<Clark, Tally | 'any'>();
  const particle = wholeParticle(type);
  if (particle !== undefined) tally(particle, 1, 1, tallies);
  const slots: (Slot | 'any')[] = [];
  const byName = new Map<Clark, Slot>();
  const byLocal = new Map<string, Slot | undefined>();
  for (const [name, t] of tallies) {
    if (t === 'any') {
      slots.push('any');
      continue;
    }
    const { local } = t.element;
    const taken = byLocal.has(local);
    const slot: Slot = { key: taken || local === 'any' ? name : local, element: t.element, repeated: t.max > 1, required: t.min > 0 };
    slots.push(slot);
    byName.set(name, slot);
    byLocal.set(local, taken ? undefined : slot);
  }
  return {
    type, slots, byName,
    keys: new Set([...byName.values()].map((slot) => slot.key)),
    byLocal: new Map([...byLocal].flatMap(([local, slot]) => (slot === undefined ? [] : [[local, slot]]))),
    wildcard: tallies.has('any'),
    attributes: wholeAttributes(type).map((declaration) => ({ key: `@${declaration.local}`, declaration })),
    mixed: isMixed(type),
    text: particle === undefined ? textType(type) : undefined,
  };
}

/** How often each element may and must stand there, all in all. */
function tally(particle: Particle, min: number, max: number, into: Map<Clark, Tally | 'any'>): void {
  const lo = min * particle.min;
  const hi = particle.max === 0 ? 0 : max * particle.max;
  if (hi === 0) return;
  if (particle.kind === 'any') {
    into.set('any', 'any');
  } else if (particle.kind === 'element') {
    const known = into.get(particle.element.name);
    if (known === undefined || known === 'any') {
      into.set(particle.element.name, { element: particle.element, min: lo, max: hi });
    } else {
      known.min += lo;
      known.max += hi;
    }
  } else if (particle.kind === 'choice') {
    choice(particle.parts, hi, into);
  } else {
    for (const part of particle.parts) tally(part, lo, hi, into);
  }
}

/** Of the alternatives one is taken: none is required, and what stands in several is not more than in one. */
function choice(parts: readonly Particle[], max: number, into: Map<Clark, Tally | 'any'>): void {
  const together = new Map<Clark, Tally | 'any'>();
  for (const part of parts) {
    const alone = new Map<Clark, Tally | 'any'>();
    tally(part, 0, max, alone);
    for (const [name, t] of alone) {
      const other = together.get(name);
      if (t !== 'any' && other !== undefined && other !== 'any') other.max = Math.max(other.max, t.max);
      else together.set(name, t);
    }
  }
  for (const [name, t] of together) {
    const known = into.get(name);
    if (t !== 'any' && known !== undefined && known !== 'any') known.max += t.max;
    else into.set(name, t);
  }
}
