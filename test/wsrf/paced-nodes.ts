/** Fake nodes that do what they are asked when a conversation says that they had: until then the lease is where its clients saw it. */
import { expect } from 'vitest';
import { statement } from '../../src/store/db.ts';
import type { TestSite } from '../support/site.ts';

const makeDue = statement<never>('paced-due', "UPDATE intent SET next_at = now() - interval '1 s' WHERE state = 'open'");

export class PacedNodes {
  readonly #site: TestSite;
  #held = false;

  constructor(site: TestSite) {
    this.#site = site;
    site.control.answer = (_, request) => (this.#held && (request.op === 'start' || request.op === 'save') ? 'silent' : undefined);
  }

  /** From now on what is asked waits, when clients are to see a state on the way. */
  hold(next: string | undefined): void {
    this.#held = next === 'Unpropagated' || next === 'Propagated' || next === 'Running';
  }

  async bring(number: number, state: string): Promise<void> {
    const [lease] = await this.#site.manager.workspaces.find(this.#site.admin, { number });
    if (lease === undefined || lease.visible === state) return;
    if (state === 'Propagated') await this.#propagated(lease);
    else await this.#goOn();
  }

  async #propagated({ id, generation, node }: { id: string; generation: number; node: string | null }): Promise<void> {
    const said = { kind: 'phase', lease: id, generation, node: node ?? '', at: this.#site.ctx.clock.now(), requestId: null } as const;
    for (const phase of ['propagate-begun', 'propagated'] as const) await this.#site.manager.work.recorder.report({ ...said, phase });
  }

  async #goOn(): Promise<void> {
    this.#held = false;
    // That they did not answer is written down first: it would be put off again after that.
    await expect.poll(() => this.#site.dispatcher.underWay, { interval: 5 }).toBe(0);
    await this.#site.db.query(makeDue);
    await this.#site.dispatcher.poll();
    await this.#site.settled();
  }
}
