/** What Hugging Face's tokenizers give for texts and pairs, as make_pairs.py wrote it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Encoding, loadTokenizer, type Tokenizer } from '../../lib/text/tokenizer.js';
import { sharedModels } from '../support/shared.js';

interface Expected {
  readonly ids: number[];
  readonly typeIds: number[];
  readonly offsets: number[];
  readonly sequence: number[];
}

export interface SingleCase extends Expected {
  readonly text: string;
  readonly addSpecial: boolean;
}

export interface PairCase extends Expected {
  readonly first: string;
  readonly second: string;
  readonly addSpecial: boolean;
  readonly maxLength?: number;
  readonly truncate?: 'longest' | 'first' | 'second';
  readonly error?: true;
}

export interface AlignedFixture {
  readonly name: string;
  /** Folder of the tokenizer; undefined where a published one is not at hand. */
  readonly folder: string | undefined;
  readonly cases: { readonly single: SingleCase[]; readonly pair: PairCase[] };
}

export const alignedFolder: string = join(import.meta.dirname, 'fixtures', 'aligned');

function read(from: string, tokenizers: string | undefined): AlignedFixture[] {
  return readdirSync(from).map((name) => ({
    name,
    folder: tokenizers === undefined ? undefined : join(tokenizers, name),
    cases: JSON.parse(readFileSync(join(from, name, 'expected.json'), 'utf8')),
  }));
}

const shared = sharedModels();
export const tiny: readonly AlignedFixture[] = read(alignedFolder, alignedFolder);
export const published: readonly AlignedFixture[] = read(
  `${alignedFolder}_real`,
  shared === undefined ? undefined : join(shared, 'tokenizers'),
);

/** Opens a fixture's tokenizer for the time of `use`. */
export async function withTokenizer(folder: string, use: (tok: Tokenizer) => Promise<void>): Promise<void> {
  const tok = await loadTokenizer({ folder });
  try {
    await use(tok);
  } finally {
    tok.close();
  }
}

/** An encoding as plain lists. */
export function plain(encoding: Encoding): Expected {
  const { ids, typeIds, offsets, sequence } = encoding;
  return {
    ids: Array.from(ids),
    typeIds: Array.from(typeIds),
    offsets: Array.from(offsets),
    sequence: Array.from(sequence),
  };
}
