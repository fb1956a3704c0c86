import { describe, it } from 'vitest';
import { resolveModel } from '../../lib/hub/index.js';

const kMinutes = 20 * 60_000;

/** Runs `test` on a checkpoint of the hub's cache; without it the test is skipped, and its name says what to pull. */
export async function published(id: string, title: string, test: (path: string) => Promise<void>): Promise<void> {
  const path = await resolveModel(id, { offline: true }).catch(() => undefined);
  describe.skipIf(path === undefined)(path === undefined ? `${id}: not cached, verdant pull ${id}` : id, () => {
    it(title, { timeout: kMinutes }, () => test(path!));
  });
}
