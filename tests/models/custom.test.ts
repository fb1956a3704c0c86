import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { dim } from '../../lib/graph/index.js';
import { type DecoderBuilder, languageHead, project, tokenTables } from '../../lib/layers/index.js';
import type { Architecture } from '../../lib/models/index.js';
import { activation, add } from '../../lib/ops/index.js';
import { DeviceModel } from '../../lib/runtime/executable.js';
import { openCheckpoint } from '../../lib/weights/checkpoint.js';
import { build, forward, program } from '../support/forward.js';
import { error } from '../support/safetensors.js';

/** A user's own: one head of attention without positions, beside a feed-forward block; logits of the sum. */
const parallel: Architecture = {
  classes: ['ParallelForCausalLM'],
  modelType: 'parallel',
  build(m: DecoderBuilder): void {
    const hidden = dim('hidden', m.config.int('hidden_size'));
    const [head, ffn] = [dim('head', m.config.int('head_dim')), dim('ffn', m.config.int('intermediate_size'))];
    const { table, head: out } = tokenTables(m, m.weights, 'tokens', dim('vocab', m.config.int('vocab_size')), hidden);
    const x = m.embedTokens(table); // (rows, hidden)
    const [q, k, v] = (['q', 'k', 'v'] as const).map((n) => project(m.weights, n, x, head)); // (rows, head)
    const y = m.attention(q!, k!, v!, { heads: 1, kvHeads: 1, headDim: m.config.int('head_dim') });
    const up = activation(project(m.weights, 'up', x, ffn), 'relu'); // (rows, ffn)
    const sum = add(project(m.weights, 'o', y, hidden), project(m.weights, 'down', up, hidden, { bias: true }));
    languageHead(m, add(x, sum), out); // (logit_rows, vocab)
  },
};

const [vocab, width, headDim, ffn] = [11, 6, 4, 9];
const shapes: Record<string, number[]> = {
  tokens: [vocab, width],
  'q.weight': [headDim, width],
  'k.weight': [headDim, width],
  'v.weight': [headDim, width],
  'o.weight': [width, headDim],
  'up.weight': [ffn, width],
  'down.weight': [width, ffn],
  'down.bias': [width],
};

/** Writes the checkpoint and returns its tensors. */
function write(folder: string): Record<string, Float32Array> {
  let [state, offset] = [7, 0];
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  const header: Record<string, unknown> = {};
  const data: Record<string, Float32Array> = {};
  for (const [name, shape] of Object.entries(shapes)) {
    const size = shape.reduce((a, b) => a * b, 1);
    data[name] = Float32Array.from({ length: size }, random);
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + 4 * size] };
    offset += 4 * size;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeUInt32LE(json.length);
  writeFileSync(
    join(folder, 'model.safetensors'),
    Buffer.concat([length, json, ...Object.values(data).map((d) => Buffer.from(d.buffer))]),
  );
  const config = {
    model_type: 'parallel',
    architectures: ['ParallelForCausalLM'],
    vocab_size: vocab,
    hidden_size: width,
    head_dim: headDim,
    intermediate_size: ffn,
    num_hidden_layers: 1,
    max_position_embeddings: 64,
    tie_word_embeddings: true,
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  return data;
}

/** The same in doubles: logits (rows, vocab). */
function reference(w: Record<string, Float32Array>, ids: readonly number[]): number[] {
  const times = (name: string, x: readonly number[]) =>
    Array.from({ length: shapes[name]![0]! }, (_, o) =>
      x.reduce((sum, v, i) => sum + v * w[name]![o * x.length + i]!, 0),
    );
  const x = ids.map((id) => [...w.tokens!.subarray(id * width, (id + 1) * width)]);
  const [q, k, v] = ['q', 'k', 'v'].map((n) => x.map((row) => times(`${n}.weight`, row))) as [
    number[][],
    number[][],
    number[][],
  ];
  return x.flatMap((row, i) => {
    const p = k
      .slice(0, i + 1)
      .map((key) => Math.exp(key.reduce((sum, e, j) => sum + e * q[i]![j]!, 0) / Math.sqrt(headDim)));
    const total = p.reduce((a, b) => a + b, 0);
    const y = Array.from({ length: headDim }, (_, j) => p.reduce((sum, e, t) => sum + (e / total) * v[t]![j]!, 0));
    const [o, down] = [
      times('o.weight', y),
      times(
        'down.weight',
        times('up.weight', row).map((e) => Math.max(e, 0)),
      ),
    ];
    return times(
      'tokens',
      row.map((e, j) => e + o[j]! + down[j]! + w['down.bias']![j]!),
    );
  });
}

it("a user's own architecture needs one function and no native code", async () => {
  const folder = mkdtempSync(join(tmpdir(), 'verdant-'));
  const model = await DeviceModel.open('cpu');
  try {
    const weights = write(folder);
    const ids = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5];
    const built = build(await openCheckpoint(folder), { architecture: parallel });
    const { logits } = await forward(model, program(built, ['logits'], ids.length), ids);
    expect(error(logits!, reference(weights, ids))).toBeLessThan(1e-5);
  } finally {
    await model.dispose();
    rmSync(folder, { recursive: true });
  }
});
