import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RawConfig } from '../../lib/weights/types.js';

/** What case.json of a fixture says; tests/fixtures/README.md explains it. */
export interface FixtureCase {
  readonly architecture: string;
  readonly max_new_tokens: number;
  /** Whether sequences were made with a KV cache; `same`: it makes no difference. */
  readonly generate_cache?: 'same' | 'yes' | 'no';
  /** Stored names of the model's parameters. */
  readonly tensors: readonly string[];
  /** Tensors that change nothing: a key's bias adds the same to all scores of a query. */
  readonly inert?: readonly string[];
  readonly features: readonly { readonly name: string; readonly patch: RawConfig }[];
}

export interface Fixture {
  readonly name: string;
  readonly folder: string;
  readonly case: FixtureCase;
}

/** Folders of tests/fixtures. */
export type FixtureKind = 'models' | 'gguf' | 'encoders' | 'seq2seq' | 'speech' | 'whisper';

/** All fixtures of a kind. */
export function fixtures(kind: FixtureKind): Fixture[] {
  const top = join(import.meta.dirname, '../fixtures', kind);
  const names = readdirSync(top).filter((name) => readdirSync(join(top, name)).includes('case.json'));
  return names.sort().map((name) => {
    const folder = join(top, name);
    return { name, folder, case: readJson(join(folder, 'case.json')) as unknown as FixtureCase };
  });
}

export function fixture(kind: FixtureKind, name: string): Fixture {
  const found = fixtures(kind).find((f) => f.name === name);
  if (found === undefined) throw new Error(`no fixture ${kind}/${name}`);
  return found;
}

export function readJson(file: string): RawConfig {
  return JSON.parse(readFileSync(file, 'utf8')) as RawConfig;
}
