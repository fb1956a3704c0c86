/** The parts of `@huggingface/tokenizers` that are used here; it exports them, but declares no types for them. */
import * as library from '@huggingface/tokenizers';
import type { JsonObject } from './spec.js';

interface Parts {
  /** Translates an Oniguruma pattern to a global, Unicode-aware RegExp; null for an unknown kind of pattern. */
  readonly SplitPreTokenizer: new (
    config: JsonObject,
  ) => { readonly pattern: RegExp | null };
}

export const { SplitPreTokenizer }: Parts = library as unknown as Parts;
