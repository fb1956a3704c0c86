import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { traceModel } from '../../lib/index.js';
import * as ops from '../../lib/runtime/ops.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { safetensors, TempFolder } from '../support/bytes.js';
import { testDevices } from '../support/run_op.js';
import { sharedModels } from '../support/shared.js';

const shared = sharedModels();
const [batch, length, width, heads] = [3, 11, 48, 3];

interface Stored {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

function readStored(name: string): Map<string, Stored> {
  const json = JSON.parse(readFileSync(join(shared!, 'gpt-nano-sort', name), 'utf8')) as Record<string, unknown>;
  const made = new Map<string, Stored>();
  for (const [key, value] of Object.entries(json)) {
    const { shape, data } = value as { shape?: number[]; data?: string };
    if (shape === undefined || data === undefined) continue;
    const bytes = Buffer.from(data, 'base64');
    made.set(key, { shape, data: Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i)) });
  }
  return made;
}

/** [out, in] to Conv1D's [in, out]. */
function transposed({ shape, data }: Stored): Stored {
  const [rows, cols] = shape as [number, number];
  const turned = new Float32Array(data.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) turned[c * rows + r] = data[r * cols + c]!;
  return { shape: [cols, rows], data: turned };
}

/** The checkpoint as Hugging Face would save it, causal masks left out. */
function writeCheckpoint(folder: TempFolder, weights: ReadonlyMap<string, Stored>): void {
  const config = {
    architectures: ['GPT2LMHeadModel'],
    model_type: 'gpt2',
    vocab_size: 3,
    n_positions: length,
    n_embd: width,
    n_layer: 3,
    n_head: heads,
    activation_function: 'gelu_new',
    layer_norm_epsilon: 1e-5,
    tie_word_embeddings: false,
  };
  folder.write('config.json', JSON.stringify(config));
  const header: Record<string, unknown> = {};
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [name, stored] of weights) {
    if (name.endsWith('.attn.bias')) continue;
    const { shape, data } = /\.c_(attn|proj|fc)\.weight$/.test(name) ? transposed(stored) : stored;
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + data.byteLength] };
    parts.push(new Uint8Array(data.buffer));
    at += data.byteLength;
  }
  folder.write('model.safetensors', safetensors(JSON.stringify(header), Buffer.concat(parts)));
}

function largest(found: ArrayLike<number>, expected: Stored): number {
  expect(found.length).toBe(expected.data.length);
  return expected.data.reduce((most, v, i) => {
    const other = found[i]!;
    return v === other ? most : Math.max(most, Number.isNaN(other) ? Infinity : Math.abs(v - other));
  }, 0);
}

const softmaxRows = (logits: Float32Array, cols: number): Float32Array => {
  const out = new Float32Array(logits.length);
  for (let r = 0; r < logits.length; r += cols) {
    const row = [...logits.subarray(r, r + cols)];
    const exps = row.map((v) => Math.exp(v - Math.max(...row)));
    const sum = exps.reduce((a, b) => a + b, 0);
    out.set(
      exps.map((e) => e / sum),
      r,
    );
  }
  return out;
};

describe.skipIf(shared === undefined)(
  'gpt-nano-sort against torch, layer by layer (skips without the shared models)',
  () => {
    let folder: TempFolder;
    let weights: Map<string, Stored>;
    let partials: Map<string, Stored>;

    beforeAll(() => {
      folder = new TempFolder();
      weights = readStored('gpt-nano-sort-model.json');
      partials = readStored('gpt-nano-sort-t0-partials.json');
      writeCheckpoint(folder, weights);
    });
    afterAll(async () => {
      folder?.dispose();
      await ops.dispose();
    });

    for (const device of testDevices()) {
      it(`the whole model on ${device}`, async () => {
        const checkpoint = await openCheckpoint(folder.path);
        const inputIds = { shape: [batch, length], data: partials.get('idx')!.data };
        const traced = await traceModel(checkpoint, { inputIds }, { device, threads: 1 });
        const pairs = [
          ['hidden_states.0', 'x'],
          ['hidden_states.1', 'block0'],
          ['hidden_states.2', 'block1'],
          ['hidden_states.3', 'ln_f'],
          ['attentions.0', 'attSm'],
          ['logits', 'lm_head'],
        ] as const;
        for (const [ours, theirs] of pairs) {
          expect(traced.get(ours)!.shape, ours).toEqual(partials.get(theirs)!.shape);
          expect(largest(traced.get(ours)!.data, partials.get(theirs)!), ours).toBeLessThanOrEqual(1e-5);
        }
        expect(largest(softmaxRows(traced.get('logits')!.data, 3), partials.get('probs')!)).toBeLessThanOrEqual(1e-5);
      });

      it(`each step of the first block on ${device}`, async () => {
        const weight = (name: string) =>
          ops.array(
            weights.get(`transformer.h.0.${name}`)!.data,
            weights.get(`transformer.h.0.${name}`)!.shape as [number],
          );
        const matrix = (name: string) =>
          ops.array(
            weights.get(`transformer.h.0.${name}`)!.data,
            weights.get(`transformer.h.0.${name}`)!.shape as [number, number],
          );
        const given = (name: string) =>
          ops.array(partials.get(name)!.data, partials.get(name)!.shape as [number, number, number]);
        const near = (found: ops.NdArray, name: string): void => {
          expect(largest(found.data, partials.get(name)!), name).toBeLessThanOrEqual(1e-5);
        };
        const at = { device };
        near(await ops.layerNorm(given('x'), weight('ln_1.weight'), weight('ln_1.bias'), at), 'ln1');
        near(await ops.linear(given('ln1'), matrix('attn.c_attn.weight'), weight('attn.c_attn.bias'), at), 'qkv');
        const y = new Float32Array(batch * length * width);
        for (let b = 0; b < batch; b++) {
          const part = (name: string) => {
            const head = partials.get(name)!.data.subarray(b * length * width, (b + 1) * length * width);
            const rows = new Float32Array(length * width);
            for (let h = 0; h < heads; h++)
              for (let t = 0; t < length; t++)
                rows.set(head.subarray((h * length + t) * 16, (h * length + t + 1) * 16), t * width + h * 16);
            return ops.array(rows, [length, heads, 16]);
          };
          const made = await ops.attention(part('q'), part('k'), part('v'), { mask: 'causal', ...at });
          y.set(made.data, b * length * width);
        }
        near(ops.array(y, [batch, length, width]), 'y');
        near(await ops.linear(given('y'), matrix('attn.c_proj.weight'), weight('attn.c_proj.bias'), at), 'yProj');
        near(await ops.add(given('x'), given('yProj'), at), 'attnResid');
        near(await ops.layerNorm(given('attnResid'), weight('ln_2.weight'), weight('ln_2.bias'), at), 'ln2');
        near(await ops.linear(given('ln2'), matrix('mlp.c_fc.weight'), weight('mlp.c_fc.bias'), at), 'fc');
        near(await ops.activation(given('fc'), 'gelu_tanh', at), 'gelu');
        near(await ops.linear(given('gelu'), matrix('mlp.c_proj.weight'), weight('mlp.c_proj.bias'), at), 'mlp');
        near(await ops.add(given('attnResid'), given('mlp'), at), 'mlpResid');
      });
    }
  },
);
