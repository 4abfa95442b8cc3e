/** Order and multiplicity of children, as the schema says. Schemas are unambiguous, so the first part that fits is the right one. */
import { elementsOf, type XmlElement } from '../xml/tree.ts';
import { wholeParticle, type ComplexType, type Particle, type Wildcard } from './model.ts';

/** What is wrong, as the end of a sentence; undefined when nothing is. */
export function checkContent(type: ComplexType, element: XmlElement): string | undefined {
  const children = elementsOf(element);
  const particle = wholeParticle(type);
  const end = particle === undefined ? 0 : times(particle, children, 0);
  if (end === undefined) return `lacks a child, or has one in a place where it must not stand${where(children)}`;
  const [extra] = children.slice(end);
  return extra === undefined ? undefined : `has the child ${extra.name} in a place where it must not stand`;
}

const where = (children: readonly XmlElement[]): string => (children.length === 0 ? '' : ` (it has ${children.map((c) => c.local).join(', ')})`);

/** Position after as many repetitions as there are; undefined when there are too few. */
function times(particle: Particle, children: readonly XmlElement[], from: number): number | undefined {
  let at = from;
  let n = 0;
  while (n < particle.max) {
    const next = once(particle, children, at);
    if (next === undefined) break;
    n++;
    if (next === at) return at;
    at = next;
  }
  return n >= particle.min ? at : undefined;
}

function once(particle: Particle, children: readonly XmlElement[], at: number): number | undefined {
  const child = children[at];
  switch (particle.kind) {
    case 'element': return child?.name === particle.element.name ? at + 1 : undefined;
    case 'any': return child !== undefined && admits(particle, child) ? at + 1 : undefined;
    case 'sequence': {
      let next: number | undefined = at;
      for (const part of particle.parts) {
        next = times(part, children, next);
        if (next === undefined) return undefined;
      }
      return next;
    }
    case 'choice': return choice(particle.parts, children, at);
    case 'all': return all(particle.parts, children, at);
  }
}

/** An alternative that takes something before one that is content with nothing. */
function choice(parts: readonly Particle[], children: readonly XmlElement[], at: number): number | undefined {
  const ends = parts.map((part) => times(part, children, at)).filter((end) => end !== undefined);
  return ends.length === 0 ? undefined : Math.max(...ends);
}

function all(parts: readonly Particle[], children: readonly XmlElement[], from: number): number | undefined {
  const left = new Set(parts);
  let at = from;
  for (let taken = true; taken;) {
    taken = false;
    for (const part of left) {
      const next = once(part, children, at);
      if (next === undefined || next === at) continue;
      at = next;
      left.delete(part);
      taken = true;
    }
  }
  return [...left].every((part) => part.min === 0) ? at : undefined;
}

function admits({ namespace, target }: Wildcard, child: XmlElement): boolean {
  if (namespace === '##any') return true;
  if (namespace === '##other') return child.ns !== target && child.ns !== '';
  return namespace.split(/\s+/).some((n) => (n === '##local' ? '' : n === '##targetNamespace' ? target : n) === child.ns);
}
