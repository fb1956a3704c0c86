import { existsSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Folder of published checkpoints and tokenizers that some tests compare with, or undefined where it is absent
 * (those tests then skip). `VERDANT_SHARED_MODELS` names it; otherwise `shared/models` beside the repository.
 */
export function sharedModels(): string | undefined {
  const folder = process.env.VERDANT_SHARED_MODELS ?? join(import.meta.dirname, '../../../shared/models');
  return existsSync(join(folder, 'README.md')) ? folder : undefined;
}
