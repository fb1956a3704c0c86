import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildCheckpoint } from '../../lib/engine/build.js';
import { DecoderHost } from '../../lib/engine/host.js';
import { architectures, load } from '../../lib/index.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { TempFolder } from '../support/bytes.js';

const source = join(import.meta.dirname, '../fixtures/models/mistral');
const builtIn = join(import.meta.dirname, '../../models/verdant-tiny');

let folder: TempFolder;
let weights: string;
beforeEach(() => {
  folder = new TempFolder();
  for (const name of ['config.json', 'model.safetensors']) cpSync(join(source, name), join(folder.path, name));
  weights = join(folder.path, 'model.safetensors');
});
afterEach(() => folder.dispose());

/** Rewrites the header of the weights, same data. */
function rewriteHeader(
  change: (header: Record<string, { dtype: string; shape: number[]; data_offsets: number[] }>) => void,
): void {
  const bytes = readFileSync(weights);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length));
  change(header);
  const text = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(weights, Buffer.concat([prefix, text, bytes.subarray(8 + length)]));
}

function rewriteConfig(change: Record<string, unknown>): void {
  const file = join(folder.path, 'config.json');
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...change }));
}

/** load() must fail with this code and a message that says all of this. */
async function refused(path: string, code: string, ...says: (string | RegExp)[]): Promise<void> {
  const error: unknown = await load(path).then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toMatchObject({ code });
  for (const words of says) expect((error as Error).message).toMatch(words);
}

describe('load() of a broken checkpoint names what is wrong', () => {
  it('an intact copy loads', async () => {
    await using model = await load(folder.path);
    expect((await model.generate([1, 2], { maxTokens: 2, ignoreEos: true }).result()).ids).toHaveLength(2);
  });

  it('truncated weights', async () => {
    truncateSync(weights, readFileSync(weights).length - 100);
    await refused(folder.path, 'ERR_FILE_CORRUPT', 'model.safetensors', /expected .*found/);
  });

  it('a truncated shard, and one that is missing', async () => {
    const sharded = join(folder.path, 'sharded');
    cpSync(join(source, '../llama'), sharded, { recursive: true });
    const shard = join(sharded, 'model-00002-of-00002.safetensors');
    truncateSync(shard, readFileSync(shard).length - 1);
    await refused(sharded, 'ERR_FILE_CORRUPT', 'model-00002-of-00002.safetensors', /expected .*found/);
    rmSync(shard);
    await refused(sharded, 'ERR_MODEL_NOT_FOUND', 'model-00002-of-00002.safetensors');
  });

  it('a missing tensor', async () => {
    rewriteHeader((h) => {
      h['model.layers.0.mlp.other.weight'] = h['model.layers.0.mlp.up_proj.weight']!;
      delete h['model.layers.0.mlp.up_proj.weight'];
    });
    await refused(folder.path, 'ERR_TENSOR_MISSING', 'model.layers.0.mlp.up_proj.weight');
  });

  it('a tensor of another shape', async () => {
    rewriteHeader((h) => h['model.layers.0.mlp.up_proj.weight']!.shape.reverse());
    await refused(folder.path, 'ERR_TENSOR_SHAPE', 'model.layers.0.mlp.up_proj.weight', /expected .*found/);
  });

  it('an unused tensor', async () => {
    rewriteHeader((h) => {
      h['model.layers.0.surprise.weight'] = { dtype: 'F32', shape: [0], data_offsets: [0, 0] };
    });
    await refused(folder.path, 'ERR_TENSOR_UNUSED', 'model.layers.0.surprise.weight');
  });

  it('a config of another size, and one that is not JSON', async () => {
    rewriteConfig({ intermediate_size: 1000 });
    await refused(folder.path, 'ERR_TENSOR_SHAPE', 'mlp', '1000');
    rewriteConfig({ num_attention_heads: 0 });
    await refused(folder.path, 'ERR_CONFIG', 'num_attention_heads');
    folder.write('config.json', '{ "architectures": ');
    await refused(folder.path, 'ERR_CONFIG', 'config.json');
    rmSync(join(folder.path, 'config.json'));
    await refused(folder.path, 'ERR_CONFIG', 'config.json');
  });

  it('an unknown architecture: lists the supported ones', async () => {
    rewriteConfig({ architectures: ['MambaForCausalLM'] });
    await refused(
      folder.path,
      'ERR_UNSUPPORTED',
      'MambaForCausalLM',
      'LlamaForCausalLM',
      'GPT2LMHeadModel',
      'Gemma3ForCausalLM',
    );
  });

  it('an unknown architecture: names the nearest, and all of the supported', async () => {
    rewriteConfig({ architectures: ['LlamaForCausaLM'] });
    const names = architectures.flatMap((a) => a.classes);
    await refused(folder.path, 'ERR_UNSUPPORTED', 'LlamaForCausaLM', /Nearest: LlamaForCausalLM, /, ...names);
    rewriteConfig({ architectures: null, model_type: 'lama' });
    await refused(folder.path, 'ERR_UNSUPPORTED', 'lama', /Nearest: llama, /, 'm2m_100');
  });

  it('architectures of another kind', async () => {
    for (const value of [2, 'MistralForCausalLM', [null], [5, 'MistralForCausalLM'], { a: 1 }]) {
      rewriteConfig({ architectures: value });
      await refused(folder.path, 'ERR_CONFIG', 'architectures', 'a list of class names');
    }
  });

  it('pickles only, no weights at all, no such path', async () => {
    rmSync(weights);
    await refused(folder.path, 'ERR_MODEL_NOT_FOUND', 'no weights', 'model.safetensors');
    folder.write('pytorch_model.bin', 'PK');
    await refused(folder.path, 'ERR_FILE_CORRUPT', 'pytorch_model.bin', 'pickle');
    rmSync(join(folder.path, 'pytorch_model.bin'));
    folder.write('training.pt', 'PK');
    await refused(folder.path, 'ERR_MODEL_NOT_FOUND', 'no weights', 'Other pickles');
    await refused(join(folder.path, 'absent'), 'ERR_MODEL_NOT_FOUND', 'absent');
    cpSync(source, join(folder.path, 'tiny-model'), { recursive: true });
    await refused(join(folder.path, 'tiny-modle'), 'ERR_MODEL_NOT_FOUND', 'tiny-modle', 'tiny-model');
  });

  it('a tokenizer file that is broken: an error of load(), not of the process', async () => {
    folder.write('tokenizer.json', '{ "model": ');
    await refused(folder.path, 'ERR_TOKENIZER', 'tokenizer.json');
  });

  it('options that do not exist or are out of range', async () => {
    const bad: [object, string][] = [
      [{ maxContex: 10 }, 'maxContex'],
      [{ threads: 0 }, 'threads'],
      [{ compute: 'int4' }, 'compute'],
      [{ device: 'cuda:9' }, 'cuda:9'],
      [{ kvMemory: 'much' }, 'kvMemory'],
      [{ maxContext: 1e9 }, 'maxContext'],
      [{ prefillChunk: 1.5 }, 'prefillChunk'],
    ];
    for (const [options, name] of bad) {
      const error = (await load(folder.path, options).catch((e: unknown) => e)) as Error & { code: string };
      expect(error.code, name).toMatch(/^ERR_(OPTION|DEVICE)$/);
      expect(error.message).toContain(name);
    }
  });
});

describe('weights that change between their header and packing', () => {
  const changes: Record<string, [string, () => void]> = {
    truncated: ['ERR_FILE_C(HANGED|ORRUPT)', () => truncateSync(weights, readFileSync(weights).length - 4000)],
    replaced: [
      'ERR_FILE_CHANGED',
      () => {
        const bytes = readFileSync(weights);
        rmSync(weights);
        writeFileSync(weights, bytes);
      },
    ],
    'written to': ['ERR_FILE_CHANGED', () => writeFileSync(weights, Buffer.from(readFileSync(weights)).reverse())],
    deleted: ['ERR_FILE_C(HANGED|ORRUPT)', () => rmSync(weights)],
  };
  for (const [name, [code, change]] of Object.entries(changes)) {
    it(name, async () => {
      const built = buildCheckpoint(await openCheckpoint(folder.path));
      change();
      const error = (await DecoderHost.open(built, { maxContext: 64 }).catch((e: unknown) => e)) as Error & {
        code: string;
      };
      expect(error.code).toMatch(new RegExp(`^${code}$`));
      expect(error.message).toContain('model.safetensors');
      expect(error.message).toMatch(/changed after its header was read: .*expected .*found|cannot be opened any more/);
    });
  }
});

describe('interrupting', () => {
  it('onProgress reports bytes up to the whole', async () => {
    const seen: { done: number; total: number }[] = [];
    await using model = await load(builtIn, { onProgress: (p) => seen.push(p) });
    expect(model.maxContext).toBeGreaterThan(0);
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.at(-1)!.done).toBe(seen.at(-1)!.total);
    expect(seen.at(-1)!.total).toBeGreaterThan(0);
  });

  it('an AbortSignal before and during the load', async () => {
    await expect(load(builtIn, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
    let aborted = 0;
    for (const turns of [0, 1, 2, 3, 4, 6, 8]) {
      const controller = new AbortController();
      const loading = load(builtIn, { signal: controller.signal });
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
      controller.abort();
      const outcome = await loading.catch((e: unknown) => e);
      if (outcome instanceof Error) {
        expect(outcome.name).toBe('AbortError');
        aborted++;
      } else await (outcome as { dispose(): Promise<void> }).dispose();
    }
    expect(aborted).toBeGreaterThan(0);
  });

  it('dispose twice, at once, and while it generates', async () => {
    const model = await load(builtIn);
    const running = model.generate([1], { maxTokens: 400, ignoreEos: true });
    const reader = running[Symbol.asyncIterator]();
    expect((await reader.next()).done).toBe(false);
    const ended = running.result().catch((e: unknown) => e);
    await Promise.all([model.dispose(), model.dispose()]);
    expect(await ended).toMatchObject({ code: 'ERR_DISPOSED' });
    await model.dispose();
    await expect(model.generate([1]).result()).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    await expect(model.forward({ inputIds: [1] })).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    await expect(model.score([1], [2])).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
  });
});
